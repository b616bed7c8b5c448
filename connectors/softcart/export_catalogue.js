// Writes the catalogue as JSON lines for the stream `catalogue` (contracts/softcart/catalogue.yaml), without MongoDB's
// own spellings ($oid, $numberDecimal, $date): each becomes its plain text. Run where the day's file shall lie:
//
//   mongosh --quiet "mongodb://…/shop" export_catalogue.js > catalogue_$(date -u +%F).json
//   headrace --pipeline softcart push catalogue_$(date -u +%F).json
//
// It was not run against a server here.
db.products
  .aggregate([
    {
      $project: {
        _id: 0,
        product_id: { $toString: "$_id" },
        product_name: "$name",
        category: "$category",
        price: { $toString: "$price" },
        dimensions: "$dimensions",
        attributes: "$attributes",
        updated_at: { $dateToString: { date: "$updated_at", format: "%Y-%m-%dT%H:%M:%S.%LZ" } },
      },
    },
  ])
  .forEach((product) => print(EJSON.stringify(product, { relaxed: true })));

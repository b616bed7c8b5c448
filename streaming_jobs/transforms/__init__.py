"""Pure steps from Kafka records to typed, keyed and judged rows: DataFrame in, DataFrame out.

Each step is a list of Spark SQL expressions that depends on the contract alone and is built once per stream: building
them anew through Python would cost more than the rows of a small batch. What the steps pass along, beside the
contract's columns: `_raw` (the value's bytes), `_fields` (`map<string,string>`: what the source wrote, by name),
`_no_row` (carries no row at all) and `_refusal` (NULL, or the first thing that is wrong: rule, column, reason).
"""

-- Fills the MariaDB databases with what `headrace --pipeline softcart generate --out DIR` wrote; run in that folder:
--   mariadb --local-infile=1 -u root < load.sql
-- A field without quotes and without characters is NULL. Times are UTC.

SET time_zone = '+00:00';

LOAD DATA LOCAL INFILE 'orders.csv' INTO TABLE sales.orders CHARACTER SET utf8mb4
FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY '' LINES TERMINATED BY '\n' IGNORE 1 LINES
(order_id, @email, status, @paid, total, @delivery, @placed_at, @updated_at)
SET customer_email = nullif(@email, ''), paid = @paid = 'true', delivery = nullif(@delivery, ''),
    placed_at = replace(replace(@placed_at, 'T', ' '), 'Z', ''),
    updated_at = replace(replace(@updated_at, 'T', ' '), 'Z', '');

LOAD DATA LOCAL INFILE 'order_lines.csv' INTO TABLE sales.order_lines CHARACTER SET utf8mb4
FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY '' LINES TERMINATED BY '\n' IGNORE 1 LINES
(order_id, line_number, product_id, quantity, unit_price);

LOAD DATA LOCAL INFILE 'stock.csv' INTO TABLE inventory.stock CHARACTER SET utf8mb4
FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY '' LINES TERMINATED BY '\n' IGNORE 1 LINES
(product_id, warehouse, quantity, @counted_on, @updated_at)
SET counted_on = nullif(@counted_on, ''), updated_at = replace(replace(@updated_at, 'T', ' '), 'Z', '');

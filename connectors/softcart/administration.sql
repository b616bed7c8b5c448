-- What an administrator sets up around the softcart databases: users with no more than they need, and the indexes that
-- the shop's own questions want. Safe to run again:  mariadb -u root < administration.sql
-- Users are made locked; set a password and unlock each, in `mariadb` (of ALTER USER … IDENTIFIED BY '…' the binlog would
-- keep the password):
--   SET PASSWORD FOR shop@'%' = PASSWORD('…');
--   ALTER USER shop@'%' ACCOUNT UNLOCK;
-- headrace's own two: `headrace_owner` looks at the catalog, reads the tables for the proof and makes the role that
-- Debezium reads with (mariadb_role.sql); that role is made by `headrace apply`.

CREATE USER IF NOT EXISTS shop@'%' ACCOUNT LOCK;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.* TO shop@'%';
GRANT SELECT ON inventory.* TO shop@'%';

CREATE USER IF NOT EXISTS stockkeeper@'%' ACCOUNT LOCK;
GRANT SELECT, INSERT, UPDATE, DELETE ON inventory.* TO stockkeeper@'%';

CREATE USER IF NOT EXISTS backup@'localhost' ACCOUNT LOCK;
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.* TO backup@'localhost';
GRANT RELOAD, BINLOG MONITOR ON *.* TO backup@'localhost';

CREATE USER IF NOT EXISTS headrace_owner@'%' ACCOUNT LOCK;
GRANT CREATE USER, RELOAD, SHOW DATABASES, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO headrace_owner@'%' WITH GRANT OPTION;
GRANT SELECT, LOCK TABLES ON sales.* TO headrace_owner@'%' WITH GRANT OPTION;
GRANT SELECT, LOCK TABLES ON inventory.* TO headrace_owner@'%' WITH GRANT OPTION;

CREATE INDEX IF NOT EXISTS orders_by_customer ON sales.orders (customer_email, placed_at);
CREATE INDEX IF NOT EXISTS orders_by_status ON sales.orders (status, placed_at);
CREATE INDEX IF NOT EXISTS order_lines_by_product ON sales.order_lines (product_id);
CREATE INDEX IF NOT EXISTS stock_by_warehouse ON inventory.stock (warehouse, quantity);

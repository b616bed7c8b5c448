-- The MariaDB databases of the softcart pipeline: what the shop writes and Debezium reads.
-- Safe to run again: nothing is dropped. Run by an administrator:  mariadb -u root < source_ddl.sql
-- A column here is a column of the contract in contracts/softcart; a services test compares the two.
-- No foreign key cascades: MariaDB writes the rows that a cascade changes to no binlog, so nobody could follow them.

CREATE DATABASE IF NOT EXISTS sales CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS inventory CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS sales.orders (
    order_id bigint unsigned PRIMARY KEY,
    customer_email varchar(254),
    status enum('placed', 'packed', 'sent', 'returned') NOT NULL,
    paid tinyint(1) NOT NULL CHECK (paid IN (0, 1)),
    total decimal(12, 2) NOT NULL CHECK (total >= 0),
    delivery json,
    placed_at timestamp NOT NULL DEFAULT current_timestamp(),
    updated_at timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS sales.order_lines (
    order_id bigint unsigned NOT NULL,
    line_number int NOT NULL,
    product_id char(24) NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    unit_price decimal(10, 2) NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, line_number),
    FOREIGN KEY (order_id) REFERENCES sales.orders (order_id) ON DELETE RESTRICT ON UPDATE RESTRICT
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS inventory.stock (
    product_id char(24) NOT NULL,
    warehouse varchar(40) NOT NULL,
    quantity int unsigned NOT NULL,
    counted_on date,
    updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
    PRIMARY KEY (product_id, warehouse)
) ENGINE = InnoDB;

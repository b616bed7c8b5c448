-- Grain: one row per day, client, path without its query, and status. Safe to run twice.
create table if not exists fact_traffic (
  traffic_key binary not null,
  host string not null,
  path string not null,
  status int not null,
  date_key int not null,
  hits bigint not null,
  bytes bigint not null,
  first_hit_at timestamp not null,
  last_hit_at timestamp not null
)
using delta
partitioned by (date_key)
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingNumIndexedCols' = '0')

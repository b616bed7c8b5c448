-- Restates whole dates; runs in the transaction that records the position. Safe to run twice.
delete from fact_traffic where date_key = any (%(date_keys)s);

insert into fact_traffic (
  traffic_key,
  host,
  path,
  status,
  date_key,
  hits,
  bytes,
  first_hit_at,
  last_hit_at
)
select
  traffic_key,
  host,
  path,
  status,
  date_key,
  hits,
  bytes,
  first_hit_at,
  last_hit_at
from staging_fact_traffic;

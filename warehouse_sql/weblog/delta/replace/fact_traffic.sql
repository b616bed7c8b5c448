-- Restates whole dates in one commit: rows of these dates go, the staged ones come. Safe to run twice.
-- `:date_keys` is bound as a list of numbers, so that Delta sees which partitions it replaces.
insert into fact_traffic replace where date_key in (:date_keys)
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
from staging_fact_traffic

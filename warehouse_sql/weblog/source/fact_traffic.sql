-- Grain: one row per day, client, path without its query, and status. Reads the view `rows`: access_log_current of the
-- dates to restate. The key hashes these four (contracts/canonical.py). A request that names no path has the path `-`.
select
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`date_key` as string)), ':', cast(`date_key` as string), ';'), 'N;'), coalesce(concat(char_length(`host`), ':', `host`, ';'), 'N;'), coalesce(concat(char_length(`path`), ':', `path`, ';'), 'N;'), coalesce(concat(char_length(cast(`status` as string)), ':', cast(`status` as string), ';'), 'N;')), 256)) as traffic_key,
  host,
  path,
  status,
  date_key,
  count(*) as hits,
  coalesce(sum(bytes), 0) as bytes,
  min(time) as first_hit_at,
  max(time) as last_hit_at
from (
  select
    host,
    coalesce(substring_index(path, '?', 1), '-') as path,
    status,
    cast(date_format(log_date, 'yyyyMMdd') as int) as date_key,
    bytes,
    time
  from rows
) as requests
group by date_key, host, path, status

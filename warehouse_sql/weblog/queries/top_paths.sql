-- The paths that are asked for most, with the share of answers that were errors.
select
  path,
  sum(hits) as hits,
  count(distinct host) as clients,
  sum(bytes) as bytes,
  round(100.0 * sum(if(status >= 400, hits, 0)) / sum(hits), 1) as error_percent
from fact_traffic
group by path
order by hits desc, path
limit 20

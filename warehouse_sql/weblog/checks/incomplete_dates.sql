-- Dates of a fact for which the ledger knows no complete file. `files` is the lake's view of that name.
select distinct 'fact_traffic' as table_name, fact_traffic.date_key
from fact_traffic
left anti join files
  on files.stream = 'access_log' and files.complete
  and cast(replace(files.unit, '-', '') as int) = fact_traffic.date_key

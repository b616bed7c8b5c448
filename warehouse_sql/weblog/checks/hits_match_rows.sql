-- Days whose hits are not as many as the lines that the ledger accepted. `files` is the lake's view of that name; its
-- counts are those of the first reading, so a day to which a replay added lines is passed over.
select traffic.date_key, traffic.hits, files.accepted
from (select date_key, sum(hits) as hits from fact_traffic group by date_key) as traffic
join files
  on files.stream = 'access_log' and files.newest
  and cast(replace(files.unit, '-', '') as int) = traffic.date_key
where files.replayed = 0 and traffic.hits <> files.accepted

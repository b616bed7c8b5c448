-- Dates of a fact for which the ledger knows no complete file. `files` is the lake's view of that name.
select distinct 'citizens_clean' as table_name, citizens_clean.date_key
from citizens_clean
left anti join files
  on files.stream = 'citizens' and files.complete
  and cast(replace(files.unit, '-', '') as int) = citizens_clean.date_key

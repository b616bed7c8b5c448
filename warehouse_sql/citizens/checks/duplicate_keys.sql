-- Keys that stand in a table more than once, and citizens that stand in one day's register more than once.
select 'citizens_clean' as table_name, hex(citizen_key) as key, count(*) as row_count
from citizens_clean
group by citizen_key
having count(*) > 1
union all
select 'citizens_clean' as table_name, concat(date_key, ' ', citizen_id) as key, count(*) as row_count
from citizens_clean
group by date_key, citizen_id
having count(*) > 1
union all
select 'dim_date' as table_name, cast(date_key as string) as key, count(*) as row_count
from dim_date
group by date_key
having count(*) > 1

-- Keys that stand in a table more than once.
select 'fact_traffic' as table_name, hex(traffic_key) as key, count(*) as row_count
from fact_traffic
group by traffic_key
having count(*) > 1
union all
select 'dim_date' as table_name, cast(date_key as string) as key, count(*) as row_count
from dim_date
group by date_key
having count(*) > 1

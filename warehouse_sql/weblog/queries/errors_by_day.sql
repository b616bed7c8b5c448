-- Answers that were errors, day by day: the client's (4xx) and the server's (5xx).
select
  dim_date.calendar_date,
  sum(fact_traffic.hits) as hits,
  sum(if(fact_traffic.status between 400 and 499, fact_traffic.hits, 0)) as client_errors,
  sum(if(fact_traffic.status >= 500, fact_traffic.hits, 0)) as server_errors
from fact_traffic
join dim_date on dim_date.date_key = fact_traffic.date_key
group by dim_date.calendar_date
order by dim_date.calendar_date

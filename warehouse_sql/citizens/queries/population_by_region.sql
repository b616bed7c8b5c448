-- How many live where on the newest day, by age group, and what they earn.
select
  coalesce(region_code, '?') as region_code,
  age_group,
  count(*) as citizens,
  count(annual_income) as assessed_citizens,
  round(avg(annual_income), 2) as average_income
from citizens_clean
where date_key = (select max(date_key) from citizens_clean)
group by coalesce(region_code, '?'), age_group
order by region_code, age_group

-- How many citizens can be reached by mail, by telephone and by post, day by day.
select
  date_key,
  count(*) as citizens,
  count_if(is_email_valid) as by_email,
  count_if(is_phone_valid) as by_phone,
  count_if(is_postcode_valid and street is not null and city is not null) as by_post
from citizens_clean
group by date_key
order by date_key

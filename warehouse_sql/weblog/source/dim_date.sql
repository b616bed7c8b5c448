-- Grain: one row per day. Reads the view `dates` (date_key): the days of the facts at hand.
select
  date_key,
  to_date(cast(date_key as string), 'yyyyMMdd') as calendar_date,
  year(to_date(cast(date_key as string), 'yyyyMMdd')) as year,
  quarter(to_date(cast(date_key as string), 'yyyyMMdd')) as quarter,
  month(to_date(cast(date_key as string), 'yyyyMMdd')) as month,
  day(to_date(cast(date_key as string), 'yyyyMMdd')) as day_of_month,
  weekday(to_date(cast(date_key as string), 'yyyyMMdd')) + 1 as iso_weekday,
  weekofyear(to_date(cast(date_key as string), 'yyyyMMdd')) as iso_week,
  weekday(to_date(cast(date_key as string), 'yyyyMMdd')) >= 5 as is_weekend
from dates

-- A day never changes: inserted once.
merge into dim_date as t
using staging_dim_date as s
on t.date_key = s.date_key
when not matched then insert (date_key, calendar_date, year, quarter, month, day_of_month, iso_weekday, iso_week, is_weekend)
values (s.date_key, s.calendar_date, s.year, s.quarter, s.month, s.day_of_month, s.iso_weekday, s.iso_week, s.is_weekend);

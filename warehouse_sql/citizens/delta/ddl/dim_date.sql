-- Grain: one row per day. Safe to run twice.
create table if not exists dim_date (
  date_key int not null,
  calendar_date date not null,
  year int not null,
  quarter int not null,
  month int not null,
  day_of_month int not null,
  iso_weekday int not null,
  iso_week int not null,
  is_weekend boolean not null
)
using delta
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingNumIndexedCols' = '0')

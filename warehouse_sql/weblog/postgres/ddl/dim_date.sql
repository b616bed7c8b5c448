-- Grain: one row per day. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists dim_date (
  date_key integer primary key,
  calendar_date date not null,
  year integer not null,
  quarter integer not null,
  month integer not null,
  day_of_month integer not null,
  iso_weekday integer not null,
  iso_week integer not null,
  is_weekend boolean not null
);

create unlogged table if not exists staging_dim_date (
  date_key integer,
  calendar_date date,
  year integer,
  quarter integer,
  month integer,
  day_of_month integer,
  iso_weekday integer,
  iso_week integer,
  is_weekend boolean
);

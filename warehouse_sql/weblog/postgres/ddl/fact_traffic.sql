-- Grain: one row per day, client, path without its query, and status. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists fact_traffic (
  traffic_key bytea primary key,
  host text not null,
  path text not null,
  status integer not null,
  date_key integer not null references dim_date,
  hits bigint not null,
  bytes bigint not null,
  first_hit_at timestamptz not null,
  last_hit_at timestamptz not null
);

create index if not exists fact_traffic_date_key on fact_traffic (date_key);

create unlogged table if not exists staging_fact_traffic (
  traffic_key bytea,
  host text,
  path text,
  status integer,
  date_key integer,
  hits bigint,
  bytes bigint,
  first_hit_at timestamptz,
  last_hit_at timestamptz
);

-- Grain: one row per instructor. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists dim_instructor (
  instructor_key bytea primary key,
  instructor_id bigint not null,
  instructor_name text,
  email text,
  department text,
  hired_on date,
  is_inferred boolean not null,
  is_deleted boolean not null,
  _version bigint not null
);

create unlogged table if not exists staging_dim_instructor (
  instructor_key bytea,
  instructor_id bigint,
  instructor_name text,
  email text,
  department text,
  hired_on date,
  is_inferred boolean,
  is_deleted boolean,
  _version bigint
);

-- Grain: one row per course. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists dim_course (
  course_key bytea primary key,
  course_id bigint not null,
  course_name text,
  instructor_id bigint,
  instructor_key bytea references dim_instructor,
  category text,
  price numeric(10,2),
  duration_minutes integer,
  published boolean,
  is_inferred boolean not null,
  is_deleted boolean not null,
  _version bigint not null
);

create unlogged table if not exists staging_dim_course (
  course_key bytea,
  course_id bigint,
  course_name text,
  instructor_id bigint,
  instructor_key bytea,
  category text,
  price numeric(10,2),
  duration_minutes integer,
  published boolean,
  is_inferred boolean,
  is_deleted boolean,
  _version bigint
);

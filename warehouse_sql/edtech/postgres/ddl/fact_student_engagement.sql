-- Grain: one row per engagement event. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists fact_student_engagement (
  engagement_key bytea primary key,
  event_id text not null,
  student_id bigint not null,
  student_key bytea not null references dim_student,
  course_id bigint not null,
  course_key bytea not null references dim_course,
  event_type text,
  engagement_score numeric(5,2),
  date_key integer not null references dim_date,
  event_time timestamptz
);

create index if not exists fact_student_engagement_date_key on fact_student_engagement (date_key);

create unlogged table if not exists staging_fact_student_engagement (
  engagement_key bytea,
  event_id text,
  student_id bigint,
  student_key bytea,
  course_id bigint,
  course_key bytea,
  event_type text,
  engagement_score numeric(5,2),
  date_key integer,
  event_time timestamptz
);

-- Grain: one row per watched stretch of video. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists fact_video_interaction (
  interaction_key bytea primary key,
  watch_id text not null,
  student_id bigint not null,
  student_key bytea not null references dim_student,
  course_id bigint not null,
  course_key bytea not null references dim_course,
  video_id bigint,
  watch_seconds integer,
  completed boolean,
  device_kind text,
  device_os text,
  date_key integer not null references dim_date,
  watched_at timestamptz
);

create index if not exists fact_video_interaction_date_key on fact_video_interaction (date_key);

create unlogged table if not exists staging_fact_video_interaction (
  interaction_key bytea,
  watch_id text,
  student_id bigint,
  student_key bytea,
  course_id bigint,
  course_key bytea,
  video_id bigint,
  watch_seconds integer,
  completed boolean,
  device_kind text,
  device_os text,
  date_key integer,
  watched_at timestamptz
);

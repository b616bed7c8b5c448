-- Grain: one row per quiz attempt. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists fact_quiz (
  quiz_key bytea primary key,
  attempt_id text not null,
  student_id bigint not null,
  student_key bytea not null references dim_student,
  course_id bigint not null,
  course_key bytea not null references dim_course,
  quiz_id bigint,
  quiz_score numeric(5,2),
  date_key integer not null references dim_date,
  attempted_at timestamptz
);

create index if not exists fact_quiz_date_key on fact_quiz (date_key);

create unlogged table if not exists staging_fact_quiz (
  quiz_key bytea,
  attempt_id text,
  student_id bigint,
  student_key bytea,
  course_id bigint,
  course_key bytea,
  quiz_id bigint,
  quiz_score numeric(5,2),
  date_key integer,
  attempted_at timestamptz
);

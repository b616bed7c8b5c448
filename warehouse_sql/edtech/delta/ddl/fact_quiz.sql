-- Grain: one row per quiz attempt. Safe to run twice.
create table if not exists fact_quiz (
  quiz_key binary not null,
  attempt_id string not null,
  student_id bigint not null,
  student_key binary not null,
  course_id bigint not null,
  course_key binary not null,
  quiz_id bigint,
  quiz_score decimal(5,2),
  date_key int not null,
  attempted_at timestamp
)
using delta
partitioned by (date_key)
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingNumIndexedCols' = '0')

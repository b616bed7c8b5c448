-- Grain: one row per engagement event. Safe to run twice.
create table if not exists fact_student_engagement (
  engagement_key binary not null,
  event_id string not null,
  student_id bigint not null,
  student_key binary not null,
  course_id bigint not null,
  course_key binary not null,
  event_type string,
  engagement_score decimal(5,2),
  date_key int not null,
  event_time timestamp
)
using delta
partitioned by (date_key)
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingNumIndexedCols' = '0')

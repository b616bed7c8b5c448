-- Grain: one row per course. Safe to run twice.
create table if not exists dim_course (
  course_key binary not null,
  course_id bigint not null,
  course_name string,
  instructor_id bigint,
  instructor_key binary,
  category string,
  price decimal(10,2),
  duration_minutes int,
  published boolean,
  is_inferred boolean not null,
  is_deleted boolean not null,
  _version bigint not null
)
using delta
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingStatsColumns' = '_version')

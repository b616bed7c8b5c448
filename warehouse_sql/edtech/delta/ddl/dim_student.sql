-- Grain: one row per student. Safe to run twice.
create table if not exists dim_student (
  student_key binary not null,
  student_id bigint not null,
  student_name string,
  email string,
  date_of_birth date,
  highest_degree string,
  created_at timestamp,
  is_inferred boolean not null,
  is_deleted boolean not null,
  _version bigint not null
)
using delta
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingStatsColumns' = '_version')

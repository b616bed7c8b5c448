-- Grain: one row per instructor. Safe to run twice.
create table if not exists dim_instructor (
  instructor_key binary not null,
  instructor_id bigint not null,
  instructor_name string,
  email string,
  department string,
  hired_on date,
  is_inferred boolean not null,
  is_deleted boolean not null,
  _version bigint not null
)
using delta
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingStatsColumns' = '_version')

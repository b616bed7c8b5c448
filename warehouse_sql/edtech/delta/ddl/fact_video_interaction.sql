-- Grain: one row per watched stretch of video. Safe to run twice.
create table if not exists fact_video_interaction (
  interaction_key binary not null,
  watch_id string not null,
  student_id bigint not null,
  student_key binary not null,
  course_id bigint not null,
  course_key binary not null,
  video_id bigint,
  watch_seconds int,
  completed boolean,
  device_kind string,
  device_os string,
  date_key int not null,
  watched_at timestamp
)
using delta
partitioned by (date_key)
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingNumIndexedCols' = '0')

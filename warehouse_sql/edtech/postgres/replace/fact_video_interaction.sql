-- Restates whole dates; runs in the transaction that records the position. Safe to run twice.
delete from fact_video_interaction where date_key = any (%(date_keys)s);

insert into fact_video_interaction (
  interaction_key,
  watch_id,
  student_id,
  student_key,
  course_id,
  course_key,
  video_id,
  watch_seconds,
  completed,
  device_kind,
  device_os,
  date_key,
  watched_at
)
select
  interaction_key,
  watch_id,
  student_id,
  student_key,
  course_id,
  course_key,
  video_id,
  watch_seconds,
  completed,
  device_kind,
  device_os,
  date_key,
  watched_at
from staging_fact_video_interaction;

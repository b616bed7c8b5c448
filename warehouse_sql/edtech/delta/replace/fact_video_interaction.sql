-- Restates whole dates in one commit: rows of these dates go, the staged ones come. Safe to run twice.
-- `:date_keys` is bound as a list of numbers, so that Delta sees which partitions it replaces.
insert into fact_video_interaction replace where date_key in (:date_keys)
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
from staging_fact_video_interaction

-- Grain: one row per watched stretch of video. Reads the view `rows`: video_watch_logs_current of the dates to restate.
select
  _key as interaction_key,
  watch_id,
  student_id,
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`student_id` as string)), ':', cast(`student_id` as string), ';'), 'N;')), 256)) as student_key,
  course_id,
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`course_id` as string)), ':', cast(`course_id` as string), ';'), 'N;')), 256)) as course_key,
  video_id,
  watch_seconds,
  completed,
  device.kind as device_kind,
  device.os as device_os,
  cast(date_format(batch_date, 'yyyyMMdd') as int) as date_key,
  watched_at
from rows

-- Grain: one row per engagement event. Reads the view `rows`: student_engagement_current of the dates to restate.
select
  rows._key as engagement_key,
  rows.event_id,
  rows.student_id,
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`student_id` as string)), ':', cast(`student_id` as string), ';'), 'N;')), 256)) as student_key,
  rows.course_id,
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`course_id` as string)), ':', cast(`course_id` as string), ';'), 'N;')), 256)) as course_key,
  rows.event_type,
  engagement_weight.engagement_score,
  cast(date_format(rows.batch_date, 'yyyyMMdd') as int) as date_key,
  rows.event_time
from rows
left join engagement_weight on engagement_weight.event_type = rows.event_type

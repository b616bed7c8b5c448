-- Grain: one row per quiz attempt. Reads the view `rows`: quiz_attempts_current of the dates to restate.
select
  _key as quiz_key,
  attempt_id,
  student_id,
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`student_id` as string)), ':', cast(`student_id` as string), ';'), 'N;')), 256)) as student_key,
  course_id,
  unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`course_id` as string)), ':', cast(`course_id` as string), ';'), 'N;')), 256)) as course_key,
  quiz_id,
  quiz_score,
  cast(date_format(batch_date, 'yyyyMMdd') as int) as date_key,
  attempted_at
from rows

-- Grain: one row per course. Reads the view `changes`: rows of courses_state past the target's position.
-- A key hashes the natural id alone (contracts/canonical.py), so instructor_key needs no lookup.
select
  _key as course_key,
  course_id,
  course_name,
  instructor_id,
  if(instructor_id is null, null,
    unhex(sha2(concat('h1', coalesce(concat(char_length(cast(`instructor_id` as string)), ':', cast(`instructor_id` as string), ';'), 'N;')), 256))) as instructor_key,
  category,
  price,
  duration_minutes,
  published,
  false as is_inferred,
  _deleted as is_deleted,
  _version
from changes

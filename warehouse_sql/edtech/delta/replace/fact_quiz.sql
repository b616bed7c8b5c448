-- Restates whole dates in one commit: rows of these dates go, the staged ones come. Safe to run twice.
-- `:date_keys` is bound as a list of numbers, so that Delta sees which partitions it replaces.
insert into fact_quiz replace where date_key in (:date_keys)
select
  quiz_key,
  attempt_id,
  student_id,
  student_key,
  course_id,
  course_key,
  quiz_id,
  quiz_score,
  date_key,
  attempted_at
from staging_fact_quiz

-- Restates whole dates; runs in the transaction that records the position. Safe to run twice.
delete from fact_quiz where date_key = any (%(date_keys)s);

insert into fact_quiz (
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
)
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
from staging_fact_quiz;

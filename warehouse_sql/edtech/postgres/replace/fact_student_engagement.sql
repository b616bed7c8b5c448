-- Restates whole dates; runs in the transaction that records the position. Safe to run twice.
delete from fact_student_engagement where date_key = any (%(date_keys)s);

insert into fact_student_engagement (
  engagement_key,
  event_id,
  student_id,
  student_key,
  course_id,
  course_key,
  event_type,
  engagement_score,
  date_key,
  event_time
)
select
  engagement_key,
  event_id,
  student_id,
  student_key,
  course_id,
  course_key,
  event_type,
  engagement_score,
  date_key,
  event_time
from staging_fact_student_engagement;

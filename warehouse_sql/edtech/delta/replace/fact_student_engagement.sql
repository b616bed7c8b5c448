-- Restates whole dates in one commit: rows of these dates go, the staged ones come. Safe to run twice.
-- `:date_keys` is bound as a list of numbers, so that Delta sees which partitions it replaces.
insert into fact_student_engagement replace where date_key in (:date_keys)
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
from staging_fact_student_engagement

-- Time watched and share completed, by course. Reads the Parquet table: plain Hive too.
select
  coalesce(course_name, concat('course ', cast(course_id as string))) as course_name,
  max(duration_minutes) as duration_minutes,
  count(*) as videos,
  round(sum(cast(watch_seconds as bigint)) / 3600.0, 1) as watched_hours,
  round(100.0 * sum(case when completed then 1 else 0 end) / count(*), 1) as completed_percent
from learning_activity
where activity_type = 'video'
group by course_id, coalesce(course_name, concat('course ', cast(course_id as string)))
order by course_name

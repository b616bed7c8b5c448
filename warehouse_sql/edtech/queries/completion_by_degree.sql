-- How many videos are watched to the end, by the student's highest degree. Reads the Parquet table: plain Hive too.
select
  coalesce(highest_degree, '(unknown)') as highest_degree,
  count(*) as videos,
  sum(case when completed then 1 else 0 end) as completed_videos,
  round(100.0 * sum(case when completed then 1 else 0 end) / count(*), 1) as completed_percent
from learning_activity
where activity_type = 'video'
group by coalesce(highest_degree, '(unknown)')
order by highest_degree

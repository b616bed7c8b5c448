-- Logins per course and day.
select
  dim_course.course_name,
  fact_student_engagement.date_key,
  count(*) as logins
from fact_student_engagement
join dim_course on dim_course.course_key = fact_student_engagement.course_key
where fact_student_engagement.event_type = 'login'
group by dim_course.course_key, dim_course.course_name, fact_student_engagement.date_key
order by dim_course.course_name, fact_student_engagement.date_key

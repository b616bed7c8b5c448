-- Keys that stand in a table more than once.
select 'dim_instructor' as table_name, hex(instructor_key) as key, count(*) as row_count
from dim_instructor
group by instructor_key
having count(*) > 1
union all
select 'dim_course' as table_name, hex(course_key) as key, count(*) as row_count
from dim_course
group by course_key
having count(*) > 1
union all
select 'dim_student' as table_name, hex(student_key) as key, count(*) as row_count
from dim_student
group by student_key
having count(*) > 1
union all
select 'dim_date' as table_name, cast(date_key as string) as key, count(*) as row_count
from dim_date
group by date_key
having count(*) > 1
union all
select 'fact_quiz' as table_name, hex(quiz_key) as key, count(*) as row_count
from fact_quiz
group by quiz_key
having count(*) > 1
union all
select 'fact_student_engagement' as table_name, hex(engagement_key) as key, count(*) as row_count
from fact_student_engagement
group by engagement_key
having count(*) > 1
union all
select 'fact_video_interaction' as table_name, hex(interaction_key) as key, count(*) as row_count
from fact_video_interaction
group by interaction_key
having count(*) > 1

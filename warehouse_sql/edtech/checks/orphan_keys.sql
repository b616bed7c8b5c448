-- Keys that name a row which does not exist (an inferred member does).
select 'fact_quiz' as table_name, 'student_key' as column_name, hex(fact_quiz.student_key) as key
from fact_quiz
left anti join dim_student on dim_student.student_key = fact_quiz.student_key
union all
select 'fact_quiz' as table_name, 'course_key' as column_name, hex(fact_quiz.course_key) as key
from fact_quiz
left anti join dim_course on dim_course.course_key = fact_quiz.course_key
union all
select 'fact_quiz' as table_name, 'date_key' as column_name, cast(fact_quiz.date_key as string) as key
from fact_quiz
left anti join dim_date on dim_date.date_key = fact_quiz.date_key
union all
select 'fact_student_engagement' as table_name, 'student_key' as column_name, hex(fact_student_engagement.student_key) as key
from fact_student_engagement
left anti join dim_student on dim_student.student_key = fact_student_engagement.student_key
union all
select 'fact_student_engagement' as table_name, 'course_key' as column_name, hex(fact_student_engagement.course_key) as key
from fact_student_engagement
left anti join dim_course on dim_course.course_key = fact_student_engagement.course_key
union all
select 'fact_student_engagement' as table_name, 'date_key' as column_name, cast(fact_student_engagement.date_key as string) as key
from fact_student_engagement
left anti join dim_date on dim_date.date_key = fact_student_engagement.date_key
union all
select 'fact_video_interaction' as table_name, 'student_key' as column_name, hex(fact_video_interaction.student_key) as key
from fact_video_interaction
left anti join dim_student on dim_student.student_key = fact_video_interaction.student_key
union all
select 'fact_video_interaction' as table_name, 'course_key' as column_name, hex(fact_video_interaction.course_key) as key
from fact_video_interaction
left anti join dim_course on dim_course.course_key = fact_video_interaction.course_key
union all
select 'fact_video_interaction' as table_name, 'date_key' as column_name, cast(fact_video_interaction.date_key as string) as key
from fact_video_interaction
left anti join dim_date on dim_date.date_key = fact_video_interaction.date_key
union all
select 'dim_course' as table_name, 'instructor_key' as column_name, hex(dim_course.instructor_key) as key
from dim_course
left anti join dim_instructor on dim_instructor.instructor_key = dim_course.instructor_key
where dim_course.instructor_key is not null

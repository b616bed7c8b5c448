-- Dates with a row whose dimension was unknown when it was written and is known now: they are written again.
select learning_activity.date_key
from learning_activity
join dim_student on dim_student.student_key = learning_activity.student_key
where not learning_activity.student_known and not dim_student.is_inferred
union
select learning_activity.date_key
from learning_activity
join dim_course on dim_course.course_key = learning_activity.course_key
where not learning_activity.course_known and not dim_course.is_inferred
union
select learning_activity.date_key
from learning_activity
join dim_instructor on dim_instructor.instructor_key = learning_activity.instructor_key
where not learning_activity.instructor_known and not dim_instructor.is_inferred

-- The students with the best average quiz score.
select
  dim_student.student_name,
  round(avg(fact_quiz.quiz_score), 2) as average_score,
  count(*) as attempts
from fact_quiz
join dim_student on dim_student.student_key = fact_quiz.student_key
where not dim_student.is_inferred
group by dim_student.student_key, dim_student.student_name
order by average_score desc, attempts desc, dim_student.student_name
limit 10

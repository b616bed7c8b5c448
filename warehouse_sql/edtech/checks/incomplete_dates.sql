-- Dates of a fact for which the ledger knows no complete file. `files` is the lake's view of that name.
select distinct 'fact_quiz' as table_name, fact_quiz.date_key
from fact_quiz
left anti join files
  on files.stream = 'quiz_attempts' and files.complete
  and cast(replace(files.unit, '-', '') as int) = fact_quiz.date_key
union all
select distinct 'fact_student_engagement' as table_name, fact_student_engagement.date_key
from fact_student_engagement
left anti join files
  on files.stream = 'student_engagement' and files.complete
  and cast(replace(files.unit, '-', '') as int) = fact_student_engagement.date_key
union all
select distinct 'fact_video_interaction' as table_name, fact_video_interaction.date_key
from fact_video_interaction
left anti join files
  on files.stream = 'video_watch_logs' and files.complete
  and cast(replace(files.unit, '-', '') as int) = fact_video_interaction.date_key

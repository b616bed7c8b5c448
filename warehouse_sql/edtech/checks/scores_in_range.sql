-- Measures outside their range.
select 'fact_quiz' as table_name, hex(quiz_key) as key, cast(quiz_score as string) as value
from fact_quiz
where quiz_score is null or quiz_score < 0 or quiz_score > 100
union all
select 'fact_video_interaction' as table_name, hex(interaction_key) as key, cast(watch_seconds as string) as value
from fact_video_interaction
where watch_seconds is null or watch_seconds < 0
union all
select 'fact_student_engagement' as table_name, hex(engagement_key) as key, event_type as value
from fact_student_engagement
where engagement_score is null

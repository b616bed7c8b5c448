-- Grain: one row per activity (engagement event, quiz attempt, watched stretch of video), with what is known of the
-- student, the course and its instructor. Rows whose dimension has not arrived are kept, with `*_known` false.
-- `:date_keys` is bound as a list of numbers. The partition column comes last, as Hive wants it.
with activity as (
  select
    'engagement' as activity_type, engagement_key as activity_key, student_id, student_key, course_id, course_key,
    event_type, engagement_score, cast(null as decimal(5, 2)) as quiz_score, cast(null as int) as watch_seconds,
    cast(null as boolean) as completed, event_time, date_key
  from fact_student_engagement
  where date_key in (:date_keys)
  union all
  select
    'quiz', quiz_key, student_id, student_key, course_id, course_key,
    cast(null as string), cast(null as decimal(5, 2)), quiz_score, cast(null as int),
    cast(null as boolean), attempted_at, date_key
  from fact_quiz
  where date_key in (:date_keys)
  union all
  select
    'video', interaction_key, student_id, student_key, course_id, course_key,
    cast(null as string), cast(null as decimal(5, 2)), cast(null as decimal(5, 2)), watch_seconds,
    completed, watched_at, date_key
  from fact_video_interaction
  where date_key in (:date_keys)
)
select
  activity.activity_type,
  activity.activity_key,
  activity.student_id,
  activity.student_key,
  dim_student.student_name,
  dim_student.highest_degree,
  coalesce(not dim_student.is_inferred, false) as student_known,
  activity.course_id,
  activity.course_key,
  dim_course.course_name,
  dim_course.category,
  dim_course.duration_minutes,
  coalesce(not dim_course.is_inferred, false) as course_known,
  dim_course.instructor_key,
  dim_instructor.instructor_name,
  dim_course.instructor_key is null or coalesce(not dim_instructor.is_inferred, false) as instructor_known,
  activity.event_type,
  activity.engagement_score,
  activity.quiz_score,
  activity.watch_seconds,
  activity.completed,
  activity.event_time,
  activity.date_key
from activity
left join dim_student on dim_student.student_key = activity.student_key
left join dim_course on dim_course.course_key = activity.course_key
left join dim_instructor on dim_instructor.instructor_key = dim_course.instructor_key

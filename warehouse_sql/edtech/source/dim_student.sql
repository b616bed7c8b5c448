-- Grain: one row per student. Reads the view `changes`: rows of students_state past the target's position.
select
  _key as student_key,
  student_id,
  student_name,
  email,
  date_of_birth,
  education.highest_degree as highest_degree,
  created_at,
  false as is_inferred,
  _deleted as is_deleted,
  _version
from changes

-- Grain: one row per instructor. Reads the view `changes`: rows of instructors_state past the target's position.
select
  _key as instructor_key,
  instructor_id,
  instructor_name,
  email,
  department,
  hired_on,
  false as is_inferred,
  _deleted as is_deleted,
  _version
from changes

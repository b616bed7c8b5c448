-- A row changes unless its version is older: safe twice and in any order. An inferred member
-- has version -1. A value that the source did not send may be found later, in the same version.
merge into dim_instructor as t
using staging_dim_instructor as s
on t.instructor_key = s.instructor_key
when matched and s._version >= t._version then update set
  instructor_id = s.instructor_id,
  instructor_name = s.instructor_name,
  email = s.email,
  department = s.department,
  hired_on = s.hired_on,
  is_inferred = s.is_inferred,
  is_deleted = s.is_deleted,
  _version = s._version
when not matched then insert (instructor_key, instructor_id, instructor_name, email, department, hired_on, is_inferred, is_deleted, _version)
values (s.instructor_key, s.instructor_id, s.instructor_name, s.email, s.department, s.hired_on, s.is_inferred, s.is_deleted, s._version)

-- A row changes unless its version is older: safe twice and in any order. An inferred member
-- has version -1. A value that the source did not send may be found later, in the same version.
merge into dim_student as t
using staging_dim_student as s
on t.student_key = s.student_key
when matched and s._version >= t._version then update set
  student_id = s.student_id,
  student_name = s.student_name,
  email = s.email,
  date_of_birth = s.date_of_birth,
  highest_degree = s.highest_degree,
  created_at = s.created_at,
  is_inferred = s.is_inferred,
  is_deleted = s.is_deleted,
  _version = s._version
when not matched then insert (student_key, student_id, student_name, email, date_of_birth, highest_degree, created_at, is_inferred, is_deleted, _version)
values (s.student_key, s.student_id, s.student_name, s.email, s.date_of_birth, s.highest_degree, s.created_at, s.is_inferred, s.is_deleted, s._version);

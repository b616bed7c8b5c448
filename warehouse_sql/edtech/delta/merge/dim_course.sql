-- A row changes unless its version is older: safe twice and in any order. An inferred member
-- has version -1. A value that the source did not send may be found later, in the same version.
merge into dim_course as t
using staging_dim_course as s
on t.course_key = s.course_key
when matched and s._version >= t._version then update set
  course_id = s.course_id,
  course_name = s.course_name,
  instructor_id = s.instructor_id,
  instructor_key = s.instructor_key,
  category = s.category,
  price = s.price,
  duration_minutes = s.duration_minutes,
  published = s.published,
  is_inferred = s.is_inferred,
  is_deleted = s.is_deleted,
  _version = s._version
when not matched then insert (course_key, course_id, course_name, instructor_id, instructor_key, category, price, duration_minutes, published, is_inferred, is_deleted, _version)
values (s.course_key, s.course_id, s.course_name, s.instructor_id, s.instructor_key, s.category, s.price, s.duration_minutes, s.published, s.is_inferred, s.is_deleted, s._version)

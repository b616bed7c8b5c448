-- Inferred members: keys that facts name before the row itself has arrived (the table `members`).
-- The row completes them later under the same key, for every version is newer than -1.
merge into dim_course as t
using members as s
on t.course_key = s.course_key
when not matched then insert (course_key, course_id, is_inferred, is_deleted, _version)
values (s.course_key, s.course_id, true, false, -1);

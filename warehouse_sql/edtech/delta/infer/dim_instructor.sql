-- Inferred members: keys that facts name before the row itself has arrived (the view `members`).
-- The row completes them later under the same key, for every version is newer than -1.
merge into dim_instructor as t
using members as s
on t.instructor_key = s.instructor_key
when not matched then insert (instructor_key, instructor_id, is_inferred, is_deleted, _version)
values (s.instructor_key, s.instructor_id, true, false, -1)

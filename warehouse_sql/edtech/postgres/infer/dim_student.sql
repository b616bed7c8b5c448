-- Inferred members: keys that facts name before the row itself has arrived (the table `members`).
-- The row completes them later under the same key, for every version is newer than -1.
merge into dim_student as t
using members as s
on t.student_key = s.student_key
when not matched then insert (student_key, student_id, is_inferred, is_deleted, _version)
values (s.student_key, s.student_id, true, false, -1);

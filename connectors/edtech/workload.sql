-- One transaction of the small workload that `headrace demo` runs against the source while files are pushed:
-- inserts, updates, deletes and a primary-key change. Safe to run any number of times, by several sessions at once.
begin;

insert into students (student_id, student_name, email, date_of_birth, address, education, profile)
select coalesce(max(student_id), 0) + 1,
       'Walk In ' || coalesce(max(student_id), 0) + 1,
       'walkin' || coalesce(max(student_id), 0) + 1 || '@example.org',
       date '1990-01-01' + (random() * 5000)::int,
       '{"street": "Mill Lane 1", "city": "Ulm", "country": "DE", "postcode": "89073"}',
       '{"highest_degree": "bachelor", "institution": "Open Academy", "graduation_year": 2020}',
       '{"language": "de", "interests": ["chess"], "preferences": {"theme": "dark"}}'
from students;

update students
set student_name = student_name || '*', updated_at = clock_timestamp()
where student_id = (select student_id from students order by random() limit 1);

update courses
set price = round((random() * 200)::numeric, 2), updated_at = clock_timestamp()
where course_id = (select course_id from courses order by random() limit 1);

delete from students
where student_id = (select student_id from students where student_name like 'Walk In%' order by random() limit 1);

update students
set student_id = (select max(student_id) from students) + 1000, updated_at = clock_timestamp()
where student_id = (select student_id from students where student_name like 'Walk In%' order by random() limit 1);

commit;

-- The source database of the edtech pipeline: what `headrace load` fills and Debezium reads.
-- Safe to run again: nothing is dropped. Order of filling: instructors, courses, students.
-- A column here is a column of the contract in contracts/edtech; a services test compares the two.

create table if not exists public.instructors (
    instructor_id bigint primary key,
    instructor_name text not null,
    email text unique,
    department text,
    hired_on date,
    updated_at timestamptz not null default now()
);

create table if not exists public.courses (
    course_id bigint primary key,
    course_name text not null,
    instructor_id bigint references public.instructors (instructor_id),
    category text,
    price numeric(10, 2) check (price >= 0),
    duration_minutes integer check (duration_minutes > 0),
    published boolean not null default false,
    updated_at timestamptz not null default now()
);

create index if not exists courses_instructor_id on public.courses (instructor_id);

create table if not exists public.students (
    student_id bigint primary key,
    student_name text not null,
    email text unique,
    date_of_birth date,
    address jsonb,
    education jsonb,
    profile jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (updated_at >= created_at)
);

-- Grain: one row per student. Safe to run twice. Staging is overwritten by each publication and needs no log.
create table if not exists dim_student (
  student_key bytea primary key,
  student_id bigint not null,
  student_name text,
  email text,
  date_of_birth date,
  highest_degree text,
  created_at timestamptz,
  is_inferred boolean not null,
  is_deleted boolean not null,
  _version bigint not null
);

create unlogged table if not exists staging_dim_student (
  student_key bytea,
  student_id bigint,
  student_name text,
  email text,
  date_of_birth date,
  highest_degree text,
  created_at timestamptz,
  is_inferred boolean,
  is_deleted boolean,
  _version bigint
);

-- Grain: one row per citizen and day of the register. Reads the view `rows`: citizens_current of the dates to restate.
-- Blanks around and within texts are made one or none; what is empty then is NULL. Names in one case only get capitals
-- at the beginning of each part. A flag is NULL where there is nothing to judge.
select
  tidy.citizen_key,
  tidy.citizen_id,
  if(tidy.given_name in (upper(tidy.given_name), lower(tidy.given_name)),
    array_join(transform(split(tidy.given_name, '-'), part -> initcap(part)), '-'), tidy.given_name) as given_name,
  if(tidy.family_name in (upper(tidy.family_name), lower(tidy.family_name)),
    array_join(transform(split(tidy.family_name, '-'), part -> initcap(part)), '-'), tidy.family_name) as family_name,
  tidy.sex,
  tidy.date_of_birth,
  tidy.age_years,
  case
    when tidy.age_years between 0 and 14 then '0-14'
    when tidy.age_years between 15 and 24 then '15-24'
    when tidy.age_years between 25 and 44 then '25-44'
    when tidy.age_years between 45 and 64 then '45-64'
    when tidy.age_years >= 65 then '65+'
    else 'unknown'
  end as age_group,
  initcap(tidy.place_of_birth) as place_of_birth,
  tidy.nationality,
  tidy.marital_status,
  lower(tidy.occupation) as occupation,
  tidy.annual_income,
  tidy.email,
  tidy.email rlike '^[^@\\s]+@[^@\\s]+[.][^@\\s.]+$' as is_email_valid,
  tidy.phone,
  tidy.phone rlike '^[+]?[0-9]{7,15}$' as is_phone_valid,
  tidy.street,
  tidy.house_number,
  tidy.postcode,
  tidy.postcode rlike '^[A-Z0-9][A-Z0-9 -]{1,9}$' as is_postcode_valid,
  initcap(tidy.city) as city,
  initcap(tidy.region) as region,
  region_code.region_code,
  tidy.date_key,
  tidy.registered_at,
  tidy.updated_at
from (
  select
    _key as citizen_key,
    citizen_id,
    nullif(regexp_replace(trim(given_name), '\\s+', ' '), '') as given_name,
    nullif(regexp_replace(trim(family_name), '\\s+', ' '), '') as family_name,
    sex,
    date_of_birth,
    cast(floor(months_between(batch_date, date_of_birth) / 12) as int) as age_years,
    nullif(regexp_replace(trim(place_of_birth), '\\s+', ' '), '') as place_of_birth,
    nationality,
    marital_status,
    nullif(regexp_replace(trim(occupation), '\\s+', ' '), '') as occupation,
    annual_income,
    nullif(lower(trim(email)), '') as email,
    nullif(regexp_replace(regexp_replace(phone, '[^0-9+]', ''), '^00', '+'), '') as phone,
    nullif(regexp_replace(trim(street), '\\s+', ' '), '') as street,
    nullif(regexp_replace(trim(house_number), '\\s+', ' '), '') as house_number,
    nullif(upper(regexp_replace(trim(postcode), '\\s+', ' ')), '') as postcode,
    nullif(regexp_replace(trim(city), '\\s+', ' '), '') as city,
    nullif(regexp_replace(trim(region), '\\s+', ' '), '') as region,
    cast(date_format(batch_date, 'yyyyMMdd') as int) as date_key,
    registered_at,
    updated_at
  from rows
) as tidy
left join region_code on region_code.region_name = lower(tidy.region)

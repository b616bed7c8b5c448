-- Restates whole dates in one commit: rows of these dates go, the staged ones come. Safe to run twice.
-- `:date_keys` is bound as a list of numbers, so that Delta sees which partitions it replaces.
insert into citizens_clean replace where date_key in (:date_keys)
select
  citizen_key,
  citizen_id,
  given_name,
  family_name,
  sex,
  date_of_birth,
  age_years,
  age_group,
  place_of_birth,
  nationality,
  marital_status,
  occupation,
  annual_income,
  email,
  is_email_valid,
  phone,
  is_phone_valid,
  street,
  house_number,
  postcode,
  is_postcode_valid,
  city,
  region,
  region_code,
  date_key,
  registered_at,
  updated_at
from staging_citizens_clean

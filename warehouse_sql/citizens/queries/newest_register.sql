-- The register of the newest day, cleaned.
select
  citizen_id, given_name, family_name, sex, date_of_birth, age_group, nationality, email, is_email_valid, phone,
  is_phone_valid, street, house_number, postcode, city, region_code, updated_at, date_key
from citizens_clean
where date_key = (select max(date_key) from citizens_clean)
order by citizen_id

-- Grain: one row per citizen and day of the register. Safe to run twice.
create table if not exists citizens_clean (
  citizen_key binary not null,
  citizen_id string not null,
  given_name string,
  family_name string,
  sex string not null,
  date_of_birth date,
  age_years int,
  age_group string not null,
  place_of_birth string,
  nationality string not null,
  marital_status string,
  occupation string,
  annual_income decimal(12,2),
  email string,
  is_email_valid boolean,
  phone string,
  is_phone_valid boolean,
  street string,
  house_number string,
  postcode string,
  is_postcode_valid boolean,
  city string,
  region string,
  region_code string,
  date_key int not null,
  registered_at timestamp not null,
  updated_at timestamp not null
)
using delta
partitioned by (date_key)
tblproperties ('delta.enableDeletionVectors' = 'false', 'delta.dataSkippingNumIndexedCols' = '0')

-- Citizens who were entered before they were born, or who are older than anybody has been.
select date_key, citizen_id, date_of_birth, registered_at, age_years
from citizens_clean
where date_of_birth > cast(registered_at as date) or age_years > 130

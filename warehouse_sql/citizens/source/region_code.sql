-- The code of each region, by its name in lower case. Data: add a region here, then restate the dates.
select region_name, region_code
from values
  ('north', 'N'),
  ('centre', 'C'),
  ('south', 'S'),
  ('east', 'E'),
  ('west', 'W'),
  ('islands', 'I')
as region_code (region_name, region_code)

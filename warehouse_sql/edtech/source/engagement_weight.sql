-- How much each kind of activity counts towards engagement. Data: change a number here, then restate the dates.
select event_type, engagement_score
from values
  ('login', 1.00BD),
  ('discussion', 3.00BD),
  ('assignment', 5.00BD)
as engagement_weight (event_type, engagement_score)

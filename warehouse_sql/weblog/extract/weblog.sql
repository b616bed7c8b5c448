-- Pages that people asked for and got, for `headrace extract weblog`: no robots, no static files, only GET and POST
-- with a status below 400. Ordered, so that the same rows make the same file. `hour` is that of UTC, whatever the
-- session's zone. A referer's host is without its port, the brackets of an IPv6 address and who logged in (`?+`: also
-- where no host follows).
select
  log_date as day,
  cast(pmod(floor(unix_seconds(time) / 3600), 24) as int) as hour,
  host,
  substring_index(path, '?', 1) as path,
  nullif(regexp_extract(path, '[?](.*)$', 1), '') as query,
  concat(cast(floor(status / 100) as int), 'xx') as status_class,
  bytes,
  nullif(
    translate(
      lower(
        regexp_extract(
          referer,
          '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?+(\\[[^/?#]*\\]|[^/:?#\\[\\]]+)(?=[:/?#]|$)',
          1
        )
      ),
      '[]',
      ''
    ),
    ''
  ) as referer_host,
  case
    when agent rlike 'Edg(e|A|iOS)?/' then 'Edge'
    when agent rlike 'OPR/|Opera' then 'Opera'
    when agent rlike 'Firefox/|FxiOS/' then 'Firefox'
    when agent rlike 'Chrome/|CriOS/' then 'Chrome'
    when agent rlike 'Safari/' then 'Safari'
    else 'other'
  end as browser
from weblog_lake.access_log_current
where method in ('GET', 'POST')
  and status < 400
  and path is not null
  and substring_index(path, '?', 1) <> '/robots.txt'
  and not lower(substring_index(path, '?', 1)) rlike '[.](css|js|map|png|jpe?g|gif|svg|webp|ico|woff2?|ttf|eot)$'
  and not coalesce(lower(agent), '') rlike 'bot|crawl|spider|slurp|curl/|wget/|python-|headless|monitor'
order by log_date, line_no

"""The statement of `headrace extract weblog` on a few requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from pyspark.sql import Row, SparkSession

from contracts.loader import load_pipeline
from warehouse_sql.extract import extract_sql

HOSTS = {
    "https://www.Example.org/a?b=c:d@e": "www.example.org",
    "http://blog.example.net:8080/post/3": "blog.example.net",
    "http://[2001:db8::5]:8080/x": "2001:db8::5",
    "http://[2001:DB8::5]": "2001:db8::5",
    "http://ada:secret@example.org/": "example.org",
    "http://ada@[2001:db8::5]/": "2001:db8::5",
    "https://example.org?next=/@x": "example.org",
    "android-app://com.example.mail": "com.example.mail",
    "http://:80/": None,
    "http://ada@/": None,
    "http://ada:secret@/x": None,
    "http://ada@:80/": None,
    "http://[2001:db8::5/x": None,
    "http://[2001:db8::5]x/": None,
    "http://exa[mple.org/": None,
    "example.org/a": None,
    "": None,
    None: None,
}


AT = datetime(2026, 1, 7, 10, tzinfo=UTC)


def extracted(spark: SparkSession, requests: Iterable[tuple[datetime, str | None]]) -> list[Row]:
    """The extract of requests at these times and with these referers."""
    columns = "log_date date, line_no bigint, time timestamp, method string, path string, status int, bytes bigint"
    rows = [
        (date(2026, 1, 7), line, at, "GET", "/", 200, 1, "192.0.2.1", referer, None)
        for line, (at, referer) in enumerate(requests, start=1)
    ]
    frame = spark.createDataFrame(rows, f"{columns}, host string, referer string, agent string")
    statement = extract_sql(load_pipeline("weblog"), "weblog")
    asked = statement.replace("weblog_lake.access_log_current", "{requests}")
    assert asked != statement
    return spark.sql(asked, requests=frame).collect()


def test_the_host_of_a_referer_is_without_port_brackets_and_who_logged_in(spark: SparkSession) -> None:
    found = [row["referer_host"] for row in extracted(spark, ((AT, referer) for referer in HOSTS))]
    assert dict(zip(HOSTS, found, strict=True)) == HOSTS


def test_the_hour_is_that_of_utc_whatever_the_zone_of_who_asks(spark: SparkSession) -> None:
    before = spark.conf.get("spark.sql.session.timeZone")
    assert before
    spark.conf.set("spark.sql.session.timeZone", "Asia/Kolkata")
    try:
        times = (AT, AT.replace(hour=0), AT.replace(hour=23, minute=59, second=59), AT.replace(year=1969, minute=1))
        hours = [row["hour"] for row in extracted(spark, ((at, None) for at in times))]
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    assert hours == [10, 0, 23, 10]

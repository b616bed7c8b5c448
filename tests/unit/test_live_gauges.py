"""What the live monitor says of a stream."""

from __future__ import annotations

import pytest

from contracts.stream import Column, FileSource, Stream, TableSource
from streaming_jobs.live.gauges import StreamGauge
from streaming_jobs.live.page import StreamCollector, render

ID = (Column("id", "bigint"),)
ORDERS = Stream("shop", "orders", "shop.s.orders", TableSource("s", "orders"), ID, ("id",), freshness_s=2.0)
DROPS = Stream("shop", "drops", "shop.files.drops", FileSource("x", "csv"), ID, ("id",), freshness_s=2.0)
CHANGE = b'{"source": {"ts_ms": 1000500}}'


def test_a_change_is_as_old_as_its_commit_and_a_row_as_its_record() -> None:
    orders, drops = StreamGauge(ORDERS), StreamGauge(DROPS)
    orders.seen(CHANGE, kafka_time=1003.0, now=1003.5)
    drops.seen(b"1,2", kafka_time=1003.0, now=1003.5)
    assert (orders.state(1010).last_event_time, orders.state(1010).delay_s) == (1000.5, 3.0)
    assert (drops.state(1010).last_event_time, drops.state(1010).delay_s) == (1003.0, 0.5)
    assert (orders.state(1010).fresh, drops.state(1010).fresh) == (False, True)


def test_a_value_that_is_no_change_falls_back_to_the_record() -> None:
    gauge = StreamGauge(ORDERS)
    for value in (None, b"", b"[]", b"\xff", b'{"source": null}'):
        gauge.seen(value, kafka_time=7.0, now=8.0)
        assert gauge.state(9).last_event_time == 7.0


def test_the_rate_is_of_the_last_minute() -> None:
    gauge = StreamGauge(DROPS)
    for second in range(30):
        for _ in range(10):
            gauge.seen(b"", 1000.0 + second, 1000.0 + second)
    assert gauge.state(1030).rate == 10.0
    assert gauge.state(1075).rate == pytest.approx(140 / 60, abs=0.001)  # seconds 1016 to 1029 are still inside
    assert gauge.state(2000).rate == 0.0
    assert gauge.state(2000).events == 300


def test_a_stream_without_events_has_no_times_on_the_page() -> None:
    silent, busy = StreamGauge(ORDERS, watched=False), StreamGauge(DROPS)
    busy.seen(b"", 1.0, 2.0)
    page = render(StreamCollector("shop", lambda: [silent.state(3), busy.state(3)])).decode()
    assert 'headrace_stream_events_total{pipeline="shop",stream="drops"} 1.0' in page
    assert 'headrace_stream_watched{pipeline="shop",stream="orders"} 0.0' in page
    assert 'headrace_stream_delay_seconds{pipeline="shop",stream="drops"} 1.0' in page
    assert 'headrace_stream_delay_seconds{pipeline="shop",stream="orders"}' not in page

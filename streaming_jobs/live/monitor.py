"""The live monitor: a faust worker that watches every stream go by. Nothing depends on it for correctness."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.web import Request, Response, View
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from prometheus_client.registry import Collector

from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline
from streaming_jobs.live.gauges import StreamGauge
from streaming_jobs.live.page import StreamCollector, render

LOOPBACK = "127.0.0.1"


class _CommittedThread(driver.AIOKafkaConsumerThread):
    """faust reads uncommitted records unless it writes transactions itself, which a monitor has no use for."""

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        writes, self.consumer.in_transaction = self.consumer.in_transaction, True
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = writes


class _CommittedConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def subscribe(self, topics: Iterable[str]) -> None:
        # aiokafka refuses to subscribe to nothing, which is all there is before the first `headrace apply`.
        if topics := set(topics):
            await super().subscribe(topics)


class _CommittedTransport(driver.Transport):
    Consumer = _CommittedConsumer


def existing_topics(kafka: str) -> set[str]:
    """The names of all topics; ServiceUnavailable if the broker does not answer."""
    try:
        client = KafkaAdminClient(bootstrap_servers=kafka, client_id="headrace-monitor")
        try:
            return set(client.list_topics())
        finally:
            client.close()
    except KafkaError as error:
        raise ServiceUnavailable(f"Kafka did not answer: {error}", broker=kafka) from error


def build_app(
    pipeline: Pipeline, kafka: str, data_dir: Path, port: int, collectors: Sequence[Collector] = ()
) -> faust.App:
    """The worker with an agent per stream, `/streams` (JSON) and `/metrics` (Prometheus) on loopback at `port`.

    Only topics that exist now are watched: subscribing to others would let the broker create them with its defaults;
    restart the monitor after a stream is added. Starts at the end of each topic, reads committed records only, creates
    no topic. `data_dir` must exist and stays practically empty. `collectors`: further figures for `/metrics`.
    """
    there = existing_topics(kafka)
    app = faust.App(
        f"{pipeline.name}-live",
        broker=[f"aiokafka://{address}" for address in kafka.split(",")],
        store="memory://",
        datadir=data_dir,
        autodiscover=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="latest",
        web_bind=LOOPBACK,
        web_host=LOOPBACK,
        web_port=port,
        worker_redirect_stdouts=False,
    )
    app.transport = _CommittedTransport(app.conf.broker_consumer, app, app.loop)
    gauges = [StreamGauge(stream, watched=stream.topic in there) for stream in pipeline.streams]
    for gauge in gauges:
        if gauge.watched:
            topic = app.topic(gauge.stream.topic, key_serializer="raw", value_serializer="raw", value_type=bytes)
            app.agent(topic, name=f"watch_{gauge.stream.name}")(_watcher(gauge))

    streams_now = StreamCollector(pipeline.name, lambda: [gauge.state(time.time()) for gauge in gauges])

    @app.page("/streams")
    async def streams(view: View, request: Request) -> Response:
        return view.json([gauge.state(time.time()).as_json() for gauge in gauges])

    @app.page("/metrics")
    async def metrics(view: View, request: Request) -> Response:
        return view.text(render(streams_now, *collectors).decode(), content_type="text/plain")

    return app


def run_monitor(
    pipeline: Pipeline, kafka: str, port: int, data_dir: Path, collectors: Sequence[Collector] = ()
) -> None:
    """Runs the worker in this process until SIGTERM or SIGINT, then raises SystemExit as faust does."""
    data_dir.mkdir(parents=True, exist_ok=True)
    app = build_app(pipeline, kafka, data_dir, port, collectors)
    faust.Worker(app, loglevel="WARNING", override_logging=False).execute_from_commandline()


def _watcher(gauge: StreamGauge) -> Callable[[Any], Awaitable[None]]:
    async def watch(stream: Any) -> None:
        async for event in stream.events():
            gauge.seen(event.value, event.message.timestamp, time.time())

    return watch

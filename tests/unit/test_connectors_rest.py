"""Connect's early answers: 404 while it starts, 409 while it rebalances, a task that fails after it ran."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connectors.rest import Connect
from contracts.errors import Fatal, PlanRefused, ServiceUnavailable

Answers = dict[str, list[tuple[int, object]]]


def status(task: str, trace: str = "") -> tuple[int, object]:
    return 200, {"connector": {"state": "RUNNING"}, "tasks": [{"state": task, "trace": trace}]}


class Worker(ThreadingHTTPServer):
    """Answers each path with the next of its list; the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: Answers = {"/connector-plugins": [(200, [])]}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Worker
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        left = self.server.answers[self.path]
        code, body = left.pop(0) if len(left) > 1 else left[0]
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_worker_that_starts_and_rebalances_is_asked_again(worker: Worker) -> None:
    worker.answers["/connector-plugins"] = [(404, {"message": "starting"}), (200, [])]
    worker.answers["/connectors/c/config"] = [(409, {"message": "rebalance"}), (200, {"a": "1"})]
    with Connect(worker.url, patience_s=10) as connect:
        assert connect.config("c") == {"a": "1"}


def test_after_the_start_404_means_there_is_none(worker: Worker) -> None:
    worker.answers["/connectors/c/config"] = [(404, {"message": "not found"})]
    with Connect(worker.url) as connect:
        assert connect.config("c") is None


def test_patience_ends_with_what_was_last_seen(worker: Worker) -> None:
    worker.answers["/connectors"] = [(409, {"message": "rebalance expected"})]
    with Connect(worker.url, patience_s=0.5) as connect, pytest.raises(ServiceUnavailable, match="rebalance expected"):
        connect.connectors()


def test_a_login_in_the_address_is_in_no_error() -> None:
    for address in ("http://me:hunter2@127.0.0.1:1", "http://me:hunter2@not a host"):
        with Connect(address, patience_s=0.1) as connect, pytest.raises(ServiceUnavailable) as refused:
            connect.connectors()
        assert "hunter2" not in str(refused.value)


def test_a_refused_config_is_not_retried(worker: Worker) -> None:
    worker.answers["/connectors/c/config"] = [(400, {"message": "tasks.max: wrong"})]
    with Connect(worker.url) as connect, pytest.raises(PlanRefused, match=r"tasks\.max: wrong"):
        connect.put("c", {})


def test_a_task_that_ran_for_a_moment_and_failed_shows_its_trace(worker: Worker) -> None:
    worker.answers["/connectors/c/status"] = [status("RUNNING"), status("FAILED", "java.lang.Boom\n\tat there")]
    with Connect(worker.url) as connect, pytest.raises(Fatal, match="Boom"):
        connect.wait_running("c", timeout_s=5)


def test_what_reached_kafka_counts_transactions_that_ended_while_a_longer_one_is_sent(worker: Worker) -> None:
    """As Debezium stored it [ran: 1,000,000 rows in one transaction]: another that began later ended before, so the
    rows that are sent lie before what the slot has confirmed."""
    stored = {"lsn_proc": 45912592, "lsn": 45912592, "lsn_commit": 186798512, "messageType": "INSERT", "txId": 786}
    worker.answers["/connectors/c/offsets"] = [(200, {"offsets": [{"partition": {"server": "c"}, "offset": stored}]})]
    with Connect(worker.url, patience_s=1) as connect:
        assert connect.source_lsn("c") == 186798512

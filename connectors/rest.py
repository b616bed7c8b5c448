"""Kafka Connect's REST interface, as far as headrace needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import requests
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from contracts.errors import Fatal, PlanRefused, ServiceUnavailable

Config = Mapping[str, str]


class _TryAgain(Exception):
    """Connect is not ready to answer: starting, or rebalancing."""


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """One answer of `GET /connectors/<name>/status`. `trace` is the first failure's stack trace, else empty."""

    connector: str
    tasks: tuple[str, ...]
    trace: str

    @property
    def running(self) -> bool:
        """Whether the connector and at least one task run, and no task does anything else."""
        return self.connector == "RUNNING" and bool(self.tasks) and set(self.tasks) == {"RUNNING"}

    @property
    def failed(self) -> bool:
        """Whether the connector or a task gave up; Connect does not restart those by itself."""
        return "FAILED" in (self.connector, *self.tasks)

    def __str__(self) -> str:
        return f"connector {self.connector}, tasks {', '.join(self.tasks) or 'none'}"


class Connect:
    """A client of one Connect cluster; every call may be repeated.

    A worker that is starting answers 404, one that rebalances 409 or 5xx: those are asked again for `patience_s`, after
    which ServiceUnavailable is raised. 404 on a connector means "there is none", because `ready` comes first.
    """

    def __init__(self, url: str, *, patience_s: float = 60.0, answer_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._answer_s = answer_s
        self._session = requests.Session()
        self._ready = False

    def __enter__(self) -> Connect:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._session.close()

    def ready(self) -> None:
        """Returns when the worker lists its plugins; before that any path may answer 404."""
        if not self._ready:
            self._call("GET", "/connector-plugins", absent_is_early=True)
            self._ready = True

    def connectors(self) -> list[str]:
        """The names of all connectors."""
        self.ready()
        names: list[str] = self._call("GET", "/connectors")
        return names

    def config(self, name: str) -> dict[str, str] | None:
        """The stored config, references to secrets unresolved; None if there is no such connector."""
        self.ready()
        found: dict[str, str] | None = self._call("GET", f"/connectors/{name}/config")
        return found

    def status(self, name: str) -> ConnectorStatus | None:
        """What the connector and its tasks do now; None if there is none or Connect has not seen it start."""
        self.ready()
        found = self._call("GET", f"/connectors/{name}/status")
        if found is None:
            return None
        parts = [found["connector"], *found["tasks"]]
        return ConnectorStatus(
            connector=found["connector"]["state"],
            tasks=tuple(task["state"] for task in found["tasks"]),
            trace=next((part["trace"] for part in parts if part.get("trace")), ""),
        )

    def source_lsn(self, name: str) -> int | None:
        """The greatest LSN among the connector's stored offsets: what ended before is in Kafka. None before any.

        Of a transaction that others overtook, the rows lie before the end of those: that end is `lsn_commit`.
        """
        self.ready()
        found = self._call("GET", f"/connectors/{name}/offsets") or {}
        offsets = [entry["offset"] or {} for entry in found.get("offsets", [])]
        keys = ("lsn", "lsn_proc", "lsn_commit")
        return max((int(one[key]) for one in offsets for key in keys if one.get(key)), default=None)

    def validate(self, config: Config) -> list[str]:
        """What Connect and the plugin find wrong, one `name: message` each; empty if nothing. Debezium also tries the
        database here."""
        self.ready()
        plugin = config["connector.class"]
        answer = self._call("PUT", f"/connector-plugins/{plugin}/config/validate", json=dict(config))
        if answer is None:
            return [f"connector.class: no plugin {plugin} on this Connect worker's plugin.path"]
        return [
            f"{entry['value']['name']}: {message}"
            for entry in answer["configs"]
            for message in entry["value"].get("errors", [])
        ]

    def put(self, name: str, config: Config) -> None:
        """Creates the connector or replaces its config."""
        self.ready()
        self._call("PUT", f"/connectors/{name}/config", json=dict(config))

    def put_stopped(self, name: str, config: Config) -> None:
        """Creates the connector, if there is none, without starting it."""
        if self.config(name) is None:
            self._call("POST", "/connectors", json={"name": name, "config": dict(config), "initial_state": "STOPPED"})

    def source_offset(self, name: str) -> dict[str, object] | None:
        """How far a Debezium connector whose topics begin with its name has come; None before it has said anything."""
        self.ready()
        found = (self._call("GET", f"/connectors/{name}/offsets") or {}).get("offsets", [])
        return next((dict(one["offset"]) for one in found if one["partition"].get("server") == name), None)

    def restart(self, name: str) -> None:
        """Starts again whatever of the connector failed."""
        self.ready()
        self._call("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")

    def wait_not_failed(self, name: str, *, timeout_s: float = 10.0) -> None:
        """Returns when nothing is FAILED, at the latest after `timeout_s`: a new start shows in the status late."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and (seen := self.status(name)) is not None and seen.failed:
            time.sleep(0.2)

    def stop(self, name: str) -> None:
        """Stops the tasks and keeps the connector; returns before they have ended."""
        self.ready()
        self._call("PUT", f"/connectors/{name}/stop")

    def resume(self, name: str) -> None:
        """Lets a stopped or paused connector run."""
        self.ready()
        self._call("PUT", f"/connectors/{name}/resume")

    def wait_stopped(self, name: str, *, timeout_s: float = 60.0) -> None:
        """Returns when a connector that was told to stop has no task left; ServiceUnavailable after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (seen := self.status(name)) and (seen.tasks or seen.connector != "STOPPED"):
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"connector {name} does not stop: {seen}", next_step="try again", connect=self.url
                )
            time.sleep(0.2)

    def offsets(self, name: str) -> dict[str, Any]:
        """Where the connector's only partition stands; empty if it has read nothing, or there is no such connector."""
        self.ready()
        found = self._call("GET", f"/connectors/{name}/offsets") or {"offsets": []}
        return next((dict(one["offset"] or {}) for one in found["offsets"]), {})

    def forget(self, name: str) -> None:
        """Deletes a stopped connector's offsets, so that one of the same name begins with a first read."""
        self.ready()
        self._call("DELETE", f"/connectors/{name}/offsets")

    def delete(self, name: str) -> None:
        """Removes the connector if there is one; its offsets stay unless they are forgotten first."""
        self.ready()
        self._call("DELETE", f"/connectors/{name}")

    def wait_running(
        self,
        name: str,
        *,
        timeout_s: float = 60.0,
        settled_s: float = 1.5,
        progress: Callable[[str], None] = lambda _: None,
    ) -> ConnectorStatus:
        """Returns when the connector and every task have run for `settled_s` without a break: a task that is replaced
        still shows RUNNING, and one that will fail on its first read shows it before it fails.

        Raises Fatal with the stack trace when one failed, ServiceUnavailable with the last status after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        seen: ConnectorStatus | None = None
        running_since: float | None = None
        while time.monotonic() < deadline:
            seen = self.status(name)
            if seen is not None:
                progress(f"{name}: {seen}")
                if not seen.running:
                    running_since = None
                elif running_since is None:
                    running_since = time.monotonic()
                elif time.monotonic() - running_since >= settled_s:
                    return seen
                if seen.failed:
                    raise Fatal(
                        f"connector {name} failed: {seen}\n{seen.trace.strip()}",
                        state="The connector stays registered and does not run.",
                        next_step="remove the cause above, then `headrace apply` starts it again",
                        connect=self.url,
                    )
            time.sleep(0.25)
        raise ServiceUnavailable(
            f"connector {name} did not run within {timeout_s:.0f} s; last seen: {seen or 'no status'}",
            next_step="look at the end of the Connect worker's log",
            connect=self.url,
        )

    def _call(self, method: str, path: str, *, json: object = None, absent_is_early: bool = False) -> Any:
        last = ""

        def once() -> Any:
            nonlocal last
            try:
                response = self._session.request(method, self.url + path, json=json, timeout=self._answer_s)
            except requests.RequestException as error:
                last = str(error)
                raise _TryAgain from error
            if response.status_code in (409, 500, 503) or (response.status_code == 404 and absent_is_early):
                last = f"{response.status_code} {_message(response)}"
                raise _TryAgain
            if response.status_code == 404:
                return None
            if response.status_code >= 400:
                raise PlanRefused(f"Connect refused {method} {path}: {_message(response)}", connect=self.url)
            return response.json() if response.content else None

        retrying = Retrying(
            stop=stop_after_delay(self._patience_s),
            wait=wait_exponential(multiplier=0.2, max=2.0),
            retry=retry_if_exception_type(_TryAgain),
        )
        try:
            return retrying(once)
        except RetryError as error:
            raise ServiceUnavailable(
                f"Connect did not answer {method} {path} within {self._patience_s:.0f} s: {last}",
                next_step="see that the Connect worker runs, and look at the end of its log",
                connect=self.url,
            ) from error


def _message(response: requests.Response) -> str:
    try:
        return str(response.json().get("message", response.text))
    except ValueError:
        return response.text

"""Options and files that make no sense are refused with exit code 2 or 3 before anything is touched."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connectors.postgres.load import header, run_sql_file
from contracts.endpoints import PostgresEndpoint
from contracts.errors import Fatal, ServiceUnavailable
from contracts.settings import PostgresSettings, Settings
from headrace.app import App
from headrace.commands.ask import quarantine_list, quarantine_show, sql
from headrace.commands.move import generate, load
from headrace.commands.process import replay, run
from headrace.commands.prove import demo, verify
from headrace.commands.reread import resnapshot
from headrace.init_tables import endpoint_of, init_tables

DAY = "--batch-date=2026-01-05"
WRONG: list[tuple[click.Command, list[str], str]] = [
    *[(demo, ["--scale", scale], "--scale") for scale in ("0", "-1", "nan", "inf")],
    *[(generate, ["--out", "x", "--scale", scale], "--scale") for scale in ("0", "-1", "nan", "inf")],
    (generate, ["--out", "x", DAY, DAY], "names a day twice"),
    *[(verify, ["--wait", wait], "--wait") for wait in ("-1", "nan", "inf")],
    (replay, ["courses", "--from-offset", "-1"], "--from-offset"),
    (replay, ["courses", "--from-offset", "1", "--to-offset", "-1"], "--to-offset"),
    (replay, ["courses", "--from-offset", "2", "--to-offset", "1"], "lies before"),
    (replay, ["courses", "--from-time", "2026-01-02", "--to-time", "2026-01-01"], "does not lie behind"),
    (sql, ["@missing.sql"], "@missing.sql cannot be read"),
    (sql, ["@."], "cannot be read"),
    (sql, ["@latin.sql"], "@latin.sql is not UTF-8"),
    (sql, ["select 1", "--limit", "0"], "--limit"),
    (quarantine_list, ["--limit", "-1"], "--limit"),
    (quarantine_show, ["courses", "1", "--partition", "-1"], "--partition"),
    (load, ["ddl.SQL", "--table", "t"], "names its tables itself"),
    *[(resnapshot, ["courses", "--where", where], "--where is empty") for where in ("", " ")],
]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("it went on")

    # Without the refusal these would start real parts.
    functions = ("demo.run_demo", "sample.generate_sample", "running.run_forever", "replaying.replay_range")
    for function in (*functions, "rereading.read_streams_again"):
        monkeypatch.setattr(f"headrace.{function}", touched)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.sql").write_bytes(b"select '\xe9'")
    (tmp_path / "ddl.SQL").write_text("create table t (id int)")
    return App(Settings(data_dir=tmp_path / "data"))


@pytest.mark.parametrize(("command", "options", "told"), WRONG)
def test_an_option_that_makes_no_sense_is_wrong_usage(
    command: click.Command, options: list[str], told: str, app: App
) -> None:
    done = CliRunner().invoke(command, options, obj=app)
    assert done.exit_code == 2, done.output
    assert told in done.output


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "infs", "", "soon"])
def test_merges_are_some_time_apart(text: str, app: App) -> None:
    done = CliRunner().invoke(run, ["--merge-every", text], obj=app)
    assert isinstance(done.exception, Fatal)
    assert "not a number of seconds above 0" in str(done.exception)


@pytest.mark.parametrize(("content", "told"), [(b"a" * 140_000, "a line of CSV"), (b"\xe9,b\n", "UTF-8")])
def test_a_header_that_is_no_csv_is_fatal(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(Fatal, match=told):
        header(tmp_path / "x.csv")


def test_a_sql_file_that_is_no_utf8_is_fatal(tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_bytes(b"select '\xe9'")
    with pytest.raises(Fatal, match=r"x\.sql is not UTF-8"):
        run_sql_file(PostgresEndpoint("nowhere", 1, "d", "u", None), tmp_path / "x.sql")  # type: ignore[arg-type]


def test_contracts_of_your_own_source_need_no_kafka(tmp_path: Path) -> None:
    own = PostgresSettings(host="127.0.0.1", port=1, database="shop", user="owner")
    app = App(Settings(source=own, data_dir=tmp_path))
    with pytest.raises(ServiceUnavailable, match="Postgres did not accept the connection"):
        init_tables(app, [], "public", "", tmp_path, force=False, dry_run=True)


@pytest.mark.parametrize("place", ["h:notaport", "h:0", "h:65536", "h,i:5432"])
def test_a_url_with_no_one_place_is_none(place: str) -> None:
    with pytest.raises(Fatal, match="one host and one port"):
        endpoint_of(f"postgresql://user@{place}/shop")

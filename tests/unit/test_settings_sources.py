"""Settings that are wrong are refused where they stand: the file and its line, the variable, the option."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from contracts.errors import ContractError
from headrace.app import load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_CONFIG", raising=False)
    return tmp_path


FILES = {
    "a list": (b"- kafka\n", "headrace.yaml:1: holds no YAML mapping"),
    "a scalar": (b"edtech\n", "headrace.yaml:1: holds no YAML mapping"),
    "a tab": (b"pipeline: shop\nkafka:\n\tbootstrap_servers: x\n", "headrace.yaml:3: is not YAML"),
    "another encoding": (b"pipeline: caf\xe9\n", "headrace.yaml: is not YAML in UTF-8"),
    "two documents": (b"pipeline: shop\n---\npipeline: other\n", "headrace.yaml:2: is not YAML"),
    "a number for a name": (b"pipeline: shop\n1: 2\n", "headrace.yaml:2: `1` is no name"),
    "a setting twice": (b"pipeline: shop\npipeline: other\n", "headrace.yaml:2: `pipeline` stands here a second time"),
    "an unknown name": (b"pipeline: shop\nkafka:\n  servers: x\n", "headrace.yaml:3: setting `kafka.servers`"),
    "an empty directory": (b"data_dir: ''\n", "headrace.yaml:1: setting `data_dir`: Value error, an empty path"),
    "no end": (b"run:\n  merge_every_s: .inf\n", "headrace.yaml:2: setting `run.merge_every_s`"),
    "no number": (b"run:\n  trigger_s: .nan\n", "headrace.yaml:2: setting `run.trigger_s`"),
    "no time": (b"run: {maintain_every_s: 0}\n", "headrace.yaml:1: setting `run.maintain_every_s`"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_wrong_file_is_refused_at_its_line(case: str, folder: Path) -> None:
    content, told = FILES[case]
    (folder / "headrace.yaml").write_bytes(content)
    with pytest.raises(ContractError) as refused:
        load_settings(None, None)
    assert told in str(refused.value)


def test_a_file_of_remarks_sets_nothing_and_no_file_is_none(folder: Path) -> None:
    assert load_settings(None, None).pipeline == "edtech"
    (folder / "headrace.yaml").write_text("# pipeline: shop\n")
    assert load_settings(None, None).pipeline == "edtech"


VARIABLES = {
    "HEADRACE_KAFKA": ("x", "`kafka`: is no JSON"),
    "HEADRACE_SPARK__CONF": ("{", "`spark`: is no JSON"),
    "HEADRACE_RUN__MERGE_EVERY_S": ("-1", "`run.merge_every_s`"),
    "HEADRACE_SQL__PORT": ("high", "`sql.port`"),
    "HEADRACE_SQL__PROT": ("1", "`sql.prot`"),
    "HEADRACE_RUN": ('{"merge_every_s": 0}', "`run.merge_every_s`"),
    "HEADRACE_DATA_DIR": ("", "`data_dir`"),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_wrong_variable_is_refused_by_its_name(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "headrace.yaml").write_text("pipeline: shop\nsql: {port: 10000}\nrun: {merge_every_s: 5}\n")
    value, told = VARIABLES[name]
    monkeypatch.setenv(name, value)
    with pytest.raises(ContractError) as refused:
        load_settings(None, None)
    assert str(refused.value).startswith(f"environment variable {name}: setting {told}")
    assert "headrace.yaml" not in str(refused.value)


def test_a_variable_that_says_nothing_of_a_wrong_setting_is_not_blamed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "headrace.yaml").write_text("run: {merge_every_s: 0}\n")
    monkeypatch.setenv("HEADRACE_RUN", '{"trigger_s": 1}')
    with pytest.raises(ContractError, match=r"headrace\.yaml:1: setting `run\.merge_every_s`"):
        load_settings(None, None)


def test_a_config_that_is_named_must_be_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CONFIG", str(folder / "other.yaml"))
    with pytest.raises(ContractError, match=r"other\.yaml: HEADRACE_CONFIG names this file"):
        load_settings(None, None)
    (folder / "other.yaml").write_text("pipeline: other\n")
    assert load_settings(None, None).pipeline == "other"
    assert load_settings("mine", None).pipeline == "mine"


def test_an_unknown_variable_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("HEADRACE_FAILPOINT", "after_staging")
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP_SERVERS", "h:1")
    with caplog.at_level(logging.WARNING):
        load_settings(None, None)
        assert not caplog.records
        monkeypatch.setenv("HEADRACE_DATADIR", "/data")
        load_settings(None, None)
    assert "HEADRACE_DATADIR is no setting" in caplog.text


def test_a_user_in_the_address_of_a_mongodb_is_refused_and_not_shown(folder: Path) -> None:
    """What the address says is in the connector's config, for all who may ask Connect."""
    (folder / "headrace.yaml").write_text("mongodb: {url: 'mongodb://me:hunter2@db/?replicaSet=rs0'}\n")
    with pytest.raises(ContractError, match="HEADRACE_MONGODB__PASSWORD") as refused:
        load_settings(None, None)
    assert "hunter2" not in str(refused.value)

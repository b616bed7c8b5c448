"""`headrace run` takes up a new declaration, and only a right one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.loader import load_pipeline
from contracts.settings import Settings
from headrace import declaration
from headrace.declaration import Declaration

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(declaration, "LOOK_EVERY_S", 0.0)
    for folder in ("contracts", "connectors", "warehouse_sql"):
        shutil.copytree(ROOT / folder / "edtech", tmp_path / folder)
    return Settings(pipeline="edtech", pipeline_dir=tmp_path)


def watched(settings: Settings) -> Declaration:
    return Declaration(settings, load_pipeline("edtech", settings.pipeline_dir))


def test_nothing_changed(settings: Settings) -> None:
    assert not watched(settings).changed()


def test_a_new_valid_contract_is_taken_up(settings: Settings) -> None:
    seen = watched(settings)
    assert settings.pipeline_dir
    file = settings.pipeline_dir / "contracts" / "quiz_attempts.yaml"
    file.write_text(file.read_text("utf-8") + "\n# a remark\n", "utf-8")
    assert seen.changed()


def test_a_wrong_contract_is_told_once_and_not_taken_up(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    seen = watched(settings)
    assert settings.pipeline_dir
    (settings.pipeline_dir / "contracts" / "quiz_attempts.yaml").write_text("kind: nonsense\n", "utf-8")
    assert not seen.changed()
    assert "quiz_attempts.yaml" in caplog.text
    caplog.clear()
    assert not seen.changed()
    assert not caplog.text


def test_a_sql_file_that_is_no_utf8_is_a_wrong_declaration(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    seen = watched(settings)
    assert settings.pipeline_dir
    file = next((settings.pipeline_dir / "warehouse_sql" / "source").glob("*.sql"))
    file.write_bytes(b"select 1\nas \xe9")
    assert not seen.changed()
    assert f"{file.name}:2: is no UTF-8" in caplog.text


def test_what_is_saved_after_a_change_was_told_is_another_change(settings: Settings) -> None:
    seen = watched(settings)
    assert settings.pipeline_dir
    file = settings.pipeline_dir / "contracts" / "quiz_attempts.yaml"
    for remark in ("one", "another"):
        file.write_text(file.read_text("utf-8") + f"\n# {remark}\n", "utf-8")
        assert seen.changed()
        assert not seen.changed()


@pytest.mark.parametrize("wrong", ["contractCreatedTs: 2026-02-30\n", "tags: &a [*a]\n", "tags: !!int abc\n"])
def test_a_contract_that_yaml_cannot_hold_does_not_end_the_run(
    settings: Settings, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    seen = watched(settings)
    assert settings.pipeline_dir
    file = settings.pipeline_dir / "contracts" / "quiz_attempts.yaml"
    file.write_text(file.read_text("utf-8") + wrong, "utf-8")
    assert not seen.changed()
    assert "quiz_attempts.yaml:" in caplog.text


def test_an_error_that_nobody_foresaw_does_not_end_the_run(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(settings)
    assert settings.pipeline_dir
    (settings.pipeline_dir / "contracts" / "another.yaml").touch()

    def unforeseen(*_: object) -> None:
        raise TypeError("odd")

    monkeypatch.setattr(declaration, "load_pipeline", unforeseen)
    assert not seen.changed()
    assert "the one before it goes on: TypeError: odd" in caplog.text

"""The server that tests of MongoDB start is installed whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Fatal
from infra import mongodb


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty one, on a machine without a network where it may be installed."""
    lock = tmp_path / "mongodb.lock"
    lock.write_text(f"secantusdb==0.7.0b3 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    monkeypatch.setattr(mongodb, "LOCK_FILE", lock)
    monkeypatch.setattr(mongodb, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setenv("MONGODB_INSTALL", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_without_its_packages_it_is_said_why_and_what_to_do_and_nothing_is_left(cache: Path) -> None:
    with pytest.raises(Fatal, match=r"(?s)secantusdb.*\nNext: .*make setup MONGODB_INSTALL=1"):
        mongodb.server()
    assert list(cache.iterdir()) == []


def test_without_uv_likewise(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb, "_UV", str(cache / "uv"))
    with pytest.raises(Fatal, match=r"(?s)No such file.*\nNext: .*make setup MONGODB_INSTALL=1"):
        mongodb.server()
    assert list(cache.iterdir()) == []


def test_where_it_may_not_be_installed_it_is_said_what_to_type(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_INSTALL")
    monkeypatch.setenv("CI", "false")
    with pytest.raises(Fatal, match="make setup MONGODB_INSTALL=1"):
        mongodb.server()
    assert not cache.exists()

"""What is written to Kafka is read back equal, and what could not be is refused where it is made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.failpoints import VARIABLE, failpoint
from contracts.wire import (
    Chunk,
    FileState,
    RowKey,
    decode_chunk,
    decode_file_state,
    decode_row_key,
    encode_chunk,
    encode_file_state,
    encode_row_key,
    row_partition,
)

HASH = "ab" * 32
STATE = FileState(
    "quiz", HASH, "quiz_2026.csv", "2026", "sending", 10, 4, 99, 3, "2026-01-05T10:00:00Z", "host:1", "été\n"
)
NAMES = st.text(st.characters(exclude_characters="\t\r\n/\0", exclude_categories=["Cs"]), min_size=1)
HEADERS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.integers(1, 10**12), st.sampled_from(["csv", "json", "unsplit"]), NAMES, HEADERS)
def test_a_row_key_survives_the_way_even_with_tabs_in_its_header(line: int, form: str, name: str, header: str) -> None:
    key = RowKey(HASH, line, form, name, header)  # type: ignore[arg-type]
    assert decode_row_key(encode_row_key(key)) == key


@pytest.mark.parametrize(
    "wrong",
    [
        {"file_hash": "AB" * 32},
        {"line": 0},
        {"format": "xml"},
        {"file_name": "a\tb.csv"},
        {"file_name": "a/b"},
        {"file_name": ""},
    ],
)
def test_a_row_key_that_could_not_be_read_back_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(RowKey(HASH, 1, "csv", "a.csv"), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "record", [b"", b"a\tb", f"{HASH}\t-1\tcsv\ta\t".encode(), f"{HASH}\tx\tcsv\ta\t".encode(), b"\xff\xfe"]
)
def test_other_bytes_are_no_row_key(record: bytes) -> None:
    with pytest.raises(ValueError):
        decode_row_key(record)


def test_a_file_state_survives_the_way_and_ignores_fields_of_a_later_version() -> None:
    key, value = encode_file_state(STATE)
    assert key == f"quiz/{HASH}".encode()
    assert decode_file_state(value) == STATE
    assert decode_file_state(json.dumps({**json.loads(value), "later": 1}).encode()) == STATE


def test_a_file_state_that_contradicts_itself_is_refused() -> None:
    for wrong in ({"sent": 11}, {"state": "sent"}, {"state": "lost"}, {"hash": "x"}):
        with pytest.raises(ValueError):
            replace(STATE, **wrong)  # type: ignore[arg-type]
    for value in (b"[]", b"{}", b"nonsense", b'"text"'):
        with pytest.raises(ValueError):
            decode_file_state(value)


def test_all_rows_of_a_file_have_one_partition_of_those_there_are() -> None:
    assert {row_partition(sha256(bytes([n])).hexdigest(), 4) for n in range(50)} == {0, 1, 2, 3}


def test_a_failpoint_kills_at_the_named_place_and_hit_and_nowhere_else() -> None:
    program = "from contracts.failpoints import failpoint\nfor n in range(4): failpoint('after_staging'); print(n)"
    died = _run(program, "after_staging:3")
    assert died.returncode == -signal.SIGKILL
    assert _run(program, "after_kafka_commit").stdout == "0\n1\n2\n3\n"
    assert "declared" in _run(program.replace("after_staging", "after_lunch"), "").stderr
    assert "write <name>" in _run(program, "after_lunch").stderr


def _run(program: str, wanted: str) -> subprocess.CompletedProcess[str]:
    environment = {VARIABLE: wanted, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=20)


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    failpoint("after_staging")


def test_a_value_of_too_many_levels_is_no_file_state() -> None:
    with pytest.raises(ValueError, match="not a file state"):
        decode_file_state(b'{"stream":' + b"[" * 100_000)


CHUNK = Chunk(f"_chunks/p/orders/{'a' * 64}/{'b' * 32}/000000000000.parquet", 3, 100, "c" * 64, split=2)


def test_a_chunk_comes_back_as_it_was_written() -> None:
    assert decode_chunk(encode_chunk(CHUNK)) == CHUNK
    older = {name: value for name, value in asdict(CHUNK).items() if name != "split"}
    assert decode_chunk(json.dumps(older).encode()) == replace(CHUNK, split=0)
    assert decode_chunk(json.dumps(asdict(CHUNK) | {"later": 1}).encode()) == CHUNK


@pytest.mark.parametrize("wrong", [{"split": 4}, {"split": -1}, {"split": True}, {"rows": 0}, {"path": "_chunks/../x"}])
def test_what_cannot_be_a_chunk_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        decode_chunk(json.dumps(asdict(CHUNK) | wrong).encode())

"""From an archive to a contract by which `push` takes that very archive; what `push` refuses gives no contract."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest
from click.testing import CliRunner

from contracts.errors import Fatal
from contracts.loader import load_pipeline, load_stream
from contracts.settings import Settings
from contracts.stream import Stream
from headrace.app import App
from headrace.commands.init import init
from headrace.drafts.draft import draft_contract, write_contract
from producers.push import FileResult, Sender, SendOptions
from producers.states import FilesTopic
from tests.unit.archives import PACKERS, tar, tar_gz, tar_header, zipped
from tests.unit.sample_other import parquet

ORDERS = b"order_id,amount\n1,2.50\n2,3.75\n"
MORE = b"order_id,amount\n1,2.75\n3,4.00\n4,1.00\n"
DAYS = {"export/orders_2026-01-05.csv": ORDERS, "export/orders_2026-01-06.csv": MORE}
KINDS = {**DAYS, "export/customers.csv": b"customer_id,name\n7,Ada\n"}


class NothingSent:
    """A files topic that holds nothing."""

    def read_to_end(self) -> dict[tuple[str, str], object]:
        return {}


def _drafted(archive: Path, **options: object) -> tuple[str, Stream]:
    """The contract's text, and the stream; nothing else is left in the folder than the archive and `contracts`."""
    spool = archive.parent / "spool"
    draft = draft_contract(archive, "shop", spool=spool, **options)  # type: ignore[arg-type]
    written = archive.parent / "contracts" / f"{draft.stream}.yaml"
    write_contract(draft, written, "shop")
    assert not list(spool.iterdir())
    return draft.text, load_stream(written, "shop")


def _pushed(archive: Path) -> list[FileResult]:
    """What `push --dry-run` says of it by the contracts that were written."""
    pipeline = load_pipeline("shop", archive.parent)
    options = SendOptions(dry_run=True, batch_date=None, spool=archive.parent / "spool")
    return Sender(pipeline, "no broker", cast(FilesTopic, NothingSent()), options).push_path(archive)


def _file(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS.keys())
def test_an_archive_of_days_becomes_a_contract_by_which_push_takes_it(pack: object, tmp_path: Path) -> None:
    archive = _file(tmp_path, "nightly.any", pack(DAYS))  # type: ignore[operator]
    text, stream = _drafted(archive)
    assert (stream.name, stream.key) == ("orders", ("order_id",))
    assert [column.spark_type for column in stream.sent_columns] == ["bigint", "decimal(18,4)"]
    assert "of 2 files of the archive only the first was read" in text
    results = _pushed(archive)
    assert [(one.stream, one.unit, one.rows, one.state) for one in results] == [
        ("orders", "2026-01-05", 2, "would_send"),
        ("orders", "2026-01-06", 3, "would_send"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("orders.tar", tar({"orders.csv": ORDERS}), 2),
        ("orders_2026-01-05.csv.gz", gzip.compress(ORDERS), 2),
        ("orders_2026-01-05.csv", gzip.compress(ORDERS), 2),
        ("orders.tgz", tar_gz({"a/b/orders.parquet": parquet(pa.table({"id": [1, 2, 3]}))}), 3),
        ("orders.zip", zipped({"orders.json": b'[{"id": 1}, {"id": 2}]', "__MACOSX/._orders.json": b"x"}), 2),
        ("orders.tar.gz", gzip.compress(tar({"orders.csv": MORE}, uname="root")), 3),
    ],
)
def test_an_archive_of_one_file_is_taken_as_that_file(name: str, content: bytes, rows: int, tmp_path: Path) -> None:
    archive = _file(tmp_path, name, content)
    text, stream = _drafted(archive)
    assert stream.name == "orders"
    assert "of the archive" not in text
    (result,) = _pushed(archive)
    assert (result.stream, result.rows, result.state) == ("orders", rows, "would_send"), result.reason


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (tar({"../orders.csv": ORDERS}), "whose name leads out of the archive: ../orders.csv"),
        (tar({"/etc/orders.csv": ORDERS}), "with an absolute name"),
        (tar_header("orders.csv", type=tarfile.SYMTYPE, linkname="/etc/passwd") + bytes(1024), "a symbolic link"),
        (tar({"orders.csv": ORDERS, "more.tar": tar({"x": b"y"})}), "another archive: more.tar (tar)"),
        (tar_gz({"orders.csv": ORDERS, "in/old.csv.gz": gzip.compress(ORDERS)}), "archive: in/old.csv.gz (gzip)"),
        (zipped({"orders.csv": ORDERS, "more.zip": zipped({"x": b"y"})}), "another archive: more.zip (zip)"),
        (tar_gz({"orders.csv": ORDERS})[:-20], "cut off"),
        (tar(DAYS)[:1800], "cut off"),
        (tar_gz({"orders.csv": b"7" * (80 << 20)}), "more than 500 times"),
        (tar({"a/orders.csv": ORDERS, "b/orders.csv": MORE}), "more than one file named orders.csv"),
        (tar({}), "is no text"),
        (zipped({}), "holds no file"),
        (
            tar(KINDS),
            "a tar of 3 files that are not of one kind: orders_2026-01-05.csv, orders_2026-01-06.csv, customers",
        ),
        (tar({"orders_1.csv": ORDERS, "orders_2.csv": MORE}), "not of one kind"),
    ],
)
def test_what_push_would_refuse_gives_no_contract(content: bytes, told: str, tmp_path: Path) -> None:
    archive = _file(tmp_path, "nightly.tar", content)
    with pytest.raises(Fatal, match=re.escape(told)):
        _drafted(archive)
    assert {path.name for path in tmp_path.rglob("*")} <= {"nightly.tar", "spool"}


def test_an_archive_named_as_the_files_in_it_is_refused_as_push_would_refuse_it(tmp_path: Path) -> None:
    archive = _file(tmp_path, "orders_2026-01-07.csv", tar(DAYS))
    with pytest.raises(Fatal, match="is named as one of the 2 files in it") as refused:
        _drafted(archive)
    assert "orders_2026-01-07.tar" in str(refused.value)


def test_a_file_of_several_kinds_is_named_and_the_others_wait_for_contracts_of_their_own(tmp_path: Path) -> None:
    archive = _file(tmp_path, "nightly.tar.gz", tar_gz(KINDS))
    app = App(Settings(pipeline="shop", pipeline_dir=tmp_path, data_dir=tmp_path / "data"))
    (tmp_path / "contracts").mkdir()

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(init, ["--from-file", str(archive), *arguments], obj=app)
        assert done.exit_code == 0, done.output
        return done.output

    run("--member", "orders_2026-01-06.csv")
    text = (tmp_path / "contracts" / "orders.yaml").read_text()
    assert "only the one that was named was read" in text
    assert "1 of its files are not this stream's" in text
    assert [one.state for one in _pushed(archive)] == ["would_send", "would_send", "rejected"]
    run("--member", "customers.csv")
    assert [(one.stream, one.state) for one in _pushed(archive)] == [
        ("orders", "would_send"),
        ("orders", "would_send"),
        ("customers", "would_send"),
    ]
    assert not list((tmp_path / "data" / "spool").iterdir())
    with pytest.raises(Fatal, match="holds no file named nothing"):
        draft_contract(archive, "shop", member="nothing")
    with pytest.raises(Fatal, match="is no archive"):
        draft_contract(_file(tmp_path, "orders.csv", ORDERS), "shop", member="orders.csv")


def test_files_of_one_day_are_each_its_own_unit_so_that_none_replaces_another(tmp_path: Path) -> None:
    archive = _file(tmp_path, "nightly.tar", tar({"orders_20260105.csv": ORDERS, "orders_20260106.csv": MORE}))
    text, stream = _drafted(archive)
    assert stream.file_source.unit == "_file"
    assert "a later file of the same name replaces this one" in text
    assert [one.unit for one in _pushed(archive)] == ["orders_20260105.csv", "orders_20260106.csv"]
    lines = tar({"log_20260105.csv": b"v\nx\nx\n", "log_20260106.csv": b"v\nx\nx\n"})
    with pytest.raises(Fatal, match="nothing but the line makes a row unique"):
        _drafted(_file(tmp_path, "log.tar", lines))


def test_the_end_of_a_packed_file_is_read_as_well(tmp_path: Path) -> None:
    rows = io.BytesIO(b"".join(b"%d,%d\n" % (number, number) for number in range(400_000)))
    archive = _file(tmp_path, "big.tar.gz", tar_gz({"big.csv": b"id,v\n" + rows.getvalue() + b"400000,late text\n"}))
    _, stream = _drafted(archive, rows=1000)
    assert [column.spark_type for column in stream.sent_columns] == ["bigint", "string"]

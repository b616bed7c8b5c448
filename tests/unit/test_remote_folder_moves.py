"""What is sent from an object store leaves `incoming/` as what was sent, whatever others do to it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from producers import remote_s3
from producers.remote_folder import ChangedMeanwhile
from producers.remote_store import RemoteFile, StoreUnavailable
from tests.unit.watched_bucket import NAME, Bucket, Watching, wait_until

pytestmark = pytest.mark.usefixtures("aws_credentials")


def test_a_file_that_arrives_is_sent_once_and_moved(bucket: Bucket) -> None:
    with Watching(bucket):
        bucket.drop("one")
        wait_until(lambda: bucket.holds() == {f"processed/{NAME}": "one"})
    assert bucket.sent == [(NAME, "one")]
    assert [result.state for result in bucket.results] == ["sent"]


def test_a_file_is_whole_only_after_it_has_settled(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("producers.remote_folder.time.monotonic", lambda: now[0])
    bucket.drop("one")
    assert bucket.folder.whole(5) == []
    now[0] += 4.9
    assert bucket.folder.whole(5) == []
    now[0] += 0.1
    assert [file.name for file in bucket.folder.whole(5)] == [NAME]


def test_a_file_that_is_overwritten_while_it_settles_settles_anew(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("producers.remote_folder.time.monotonic", lambda: now[0])
    bucket.drop("half of")
    assert bucket.folder.whole(5) == []
    now[0] += 4
    bucket.drop("half of it, and the rest")
    assert bucket.folder.whole(5) == []
    now[0] += 4
    assert bucket.folder.whole(5) == []
    now[0] += 1
    assert [file.size for file in bucket.folder.whole(5)] == [24]


def test_a_file_that_changes_between_listing_and_copy_is_not_sent_as_the_old_one(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.drop("one")
    (file,) = bucket.folder.whole(0)
    bucket.drop("two")  # As long, and within the same second: only the ETag tells.
    with pytest.raises(ChangedMeanwhile, match=NAME):
        bucket.folder.fetch(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["two"]


def test_a_file_that_is_gone_before_the_copy_is_no_error_of_the_watcher(bucket: Bucket, tmp_path: Path) -> None:
    bucket.drop("one")
    (file,) = bucket.folder.whole(0)
    bucket.take_away()
    with pytest.raises(ChangedMeanwhile):
        bucket.folder.fetch(file, tmp_path)
    bucket.folder.put_away(file, "sent", "")
    assert bucket.holds() == {}


def test_a_file_shortened_under_way_is_changed_not_a_store_that_is_away(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_s3, "_READ_AHEAD_BYTES", 1024)
    bucket.drop(b"x" * 3 * 1024**2)
    (file,) = bucket.folder.whole(0)
    real = bucket.folder._store.read

    def read(path: str) -> Iterator[bytes]:
        pieces = real(path)
        yield next(pieces)
        bucket.drop("short")
        yield from pieces

    monkeypatch.setattr(bucket.folder._store, "read", read)
    with pytest.raises(ChangedMeanwhile):
        bucket.folder.fetch(file, tmp_path)


def test_a_large_file_is_copied_whole(bucket: Bucket, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    bucket.drop(content)
    (file,) = bucket.folder.whole(0)
    told: list[tuple[str, int, int]] = []
    copy = bucket.folder.fetch(file, tmp_path, lambda *step: told.append(step))
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (told[0], told[-1]) == ((NAME, 0, len(content)), (NAME, len(content), len(content)))
    assert len(told) > len(content) // 1024**2
    assert told == sorted(told)


def test_a_correction_dropped_while_the_file_is_sent_stays_and_is_sent_next(bucket: Bucket) -> None:
    bucket.drop("old")
    bucket.under_way = lambda: bucket.drop("new")  # As long, and within the same second.
    bucket.sweep()
    assert bucket.holds() == {f"incoming/{NAME}": "new"}
    bucket.under_way = lambda: None
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["old", "new"]
    assert bucket.holds() == {f"processed/{NAME}": "new"}


def test_a_correction_stays_too_if_the_old_content_is_in_processed_already(bucket: Bucket) -> None:
    bucket.drop("old")
    bucket.sweep()
    bucket.drop("old")
    bucket.under_way = lambda: bucket.drop("new")
    bucket.sweep()
    assert bucket.holds() == {f"incoming/{NAME}": "new", f"processed/{NAME}": "old"}


@pytest.mark.parametrize("step", ["before the copy", "after the copy"])
def test_a_correction_dropped_during_the_move_stays(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    bucket.drop("old")
    store = bucket.folder._store
    real = store._copy  # type: ignore[attr-defined]

    def copy(file: RemoteFile, target: str) -> None:
        if step == "before the copy":
            bucket.drop("corrected")
        real(file, target)
        if step == "after the copy":
            bucket.drop("corrected")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_copy", copy)
        bucket.sweep()
    assert bucket.holds() == {f"incoming/{NAME}": "corrected"}
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["old", "corrected"]
    assert bucket.holds() == {f"processed/{NAME}": "corrected"}


def test_a_file_taken_away_right_before_it_is_moved_leaves_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.drop("one")
    real = bucket.folder._store._copy  # type: ignore[attr-defined]

    def copy(file: RemoteFile, target: str) -> None:
        bucket.take_away()
        real(file, target)

    monkeypatch.setattr(bucket.folder._store, "_copy", copy)
    bucket.sweep()
    assert [result.state for result in bucket.results] == ["sent"]
    assert bucket.holds() == {}


def test_nothing_in_processed_is_written_over(bucket: Bucket) -> None:
    for text in ("one", "two", "three", "two"):
        bucket.drop(text)
        bucket.sweep()
    two, three = (sha256(text.encode()).hexdigest()[:12] for text in ("two", "three"))
    stem = NAME.removesuffix(".csv")
    assert bucket.holds() == {
        f"processed/{NAME}": "one",
        f"processed/{stem}.{two}.csv": "two",
        f"processed/{stem}.{three}.csv": "three",
    }


def test_a_tagged_name_that_is_taken_gets_a_number(bucket: Bucket) -> None:
    for text in ("a;one", "a;two", "a;three"):
        bucket.drop(text)
        bucket.sweep()
    stem = NAME.removesuffix(".csv")
    assert bucket.holds() == {
        f"processed/{NAME}": "a;one",
        f"processed/{stem}.again.csv": "a;two",
        f"processed/{stem}.again.2.csv": "a;three",
    }


def test_a_rejected_file_lies_beside_its_reason(bucket: Bucket) -> None:
    bucket.drop("bad rows")
    bucket.sweep()
    assert bucket.holds() == {
        f"rejected/{NAME}": "bad rows",
        f"rejected/{NAME}.reason.txt": f"{NAME}: it is bad rows\n",
    }


def test_an_archive_is_rejected_for_one_bad_member_and_the_reason_names_it(bucket: Bucket) -> None:
    bucket.drop("good;bad one;bad two")
    bucket.sweep()
    found = bucket.holds()
    assert found[f"rejected/{NAME}"] == "good;bad one;bad two"
    assert found[f"rejected/{NAME}.reason.txt"] == f"{NAME}: {NAME}: it is bad one\n{NAME}: it is bad two\n"
    assert [result.state for result in bucket.results] == ["sent", "rejected", "rejected"]


@pytest.mark.parametrize("content", ["busy", "good;busy", "bad;busy"])
def test_a_file_given_up_in_any_part_stays_and_is_tried_again_later(bucket: Bucket, content: str) -> None:
    bucket.drop(content)
    with Watching(bucket, retry_after_s=0.4):
        wait_until(lambda: len(bucket.results) >= 2 * len(content.split(";")))
        assert bucket.holds() == {f"incoming/{NAME}": content}


def test_a_file_given_up_is_not_taken_again_at_once(bucket: Bucket) -> None:
    bucket.drop("busy")
    with Watching(bucket, retry_after_s=60):
        wait_until(lambda: len(bucket.results) == 1)
        bucket.drop("behind it", "z.csv")
        wait_until(lambda: "processed/z.csv" in bucket.holds())
    assert [result.state for result in bucket.results] == ["given_up", "sent"]


@pytest.mark.parametrize("at", ["_copy", "_delete"])
def test_the_next_watcher_moves_what_one_had_sent_that_was_killed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    bucket.drop("one")
    monkeypatch.setattr(bucket.folder._store, at, kill)
    with pytest.raises(Killed):
        bucket.sweep()
    assert f"incoming/{NAME}" in bucket.holds()
    bucket.sweep(bucket.open())
    assert [result.state for result in bucket.results] == ["already_sent"]
    assert bucket.sent == [(NAME, "one")]
    assert bucket.holds() == {f"processed/{NAME}": "one"}


def test_two_watchers_of_one_folder_send_and_move_every_file_once(bucket: Bucket) -> None:
    names = [f"orders_{number}.csv" for number in range(12)]
    with Watching(bucket), Watching(bucket, bucket.open()):
        for name in names:
            bucket.drop(name, name)
        wait_until(lambda: not any(key.startswith("incoming/") for key in bucket.holds()))
    assert bucket.holds() == {f"processed/{name}": name for name in names}
    assert {name for name, _ in bucket.sent} == set(names)
    assert {result.state for result in bucket.results} <= {"sent", "already_sent"}


def test_a_watcher_whose_file_another_one_has_moved_goes_on(bucket: Bucket) -> None:
    bucket.drop("one")
    bucket.under_way = lambda: bucket.folder.put_away(bucket.open().whole(0)[0], "sent", "")
    bucket.sweep()
    assert bucket.holds() == {f"processed/{NAME}": "one"}
    assert [result.state for result in bucket.results] == ["sent"]


def test_an_object_too_large_for_one_request_is_copied_in_pieces(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_s3, "COPY_LIMIT_BYTES", 10)
    content = "0123456789" * 300_000
    bucket.drop(content)
    bucket.sweep()
    assert bucket.holds() == {f"processed/{NAME}": content}


def test_a_copy_in_pieces_that_breaks_off_leaves_no_part(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_s3, "COPY_LIMIT_BYTES", 10)
    content = "0123456789" * 300_000
    bucket.drop(content)
    (file,) = bucket.folder.whole(0)
    store = bucket.folder._store
    real = store.read

    def read(path: str) -> Iterator[bytes]:
        yield next(real(path))
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "read", read)
    with pytest.raises(StoreUnavailable, match="away"):
        bucket.folder.put_away(file, "sent", "")
    assert bucket.holds() == {f"incoming/{NAME}": content}

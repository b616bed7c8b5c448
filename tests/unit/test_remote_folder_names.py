"""Which addresses of an object store can be watched, and which objects there are files: their names and order."""

from __future__ import annotations

import time

import pytest

from contracts.errors import Fatal
from producers import remote_folder
from producers.remote_folder import open_folder
from tests.unit.watched_bucket import NAME, Bucket, Watching, wait_until

pytestmark = pytest.mark.usefixtures("aws_credentials")


@pytest.mark.parametrize(
    "name",
    [
        "Ä ö  b+c%20?#&=.csv",
        "日本 😀.csv",
        " leading.csv",
        "trailing. ",
        "quote'\"<&>.csv",
        "no_suffix",
        "s3:colon.csv",
        "back\\slash.csv",
    ],
)
def test_any_name_that_the_wire_carries_is_sent_and_moved(bucket: Bucket, name: str) -> None:
    bucket.drop("one", name)
    bucket.sweep()
    bucket.drop("bad", name)
    bucket.sweep()
    assert bucket.sent == [(name, "one")]
    assert bucket.holds() == {
        f"processed/{name}": "one",
        f"rejected/{name}": "bad",
        f"rejected/{name}.reason.txt": f"{name}: it is bad\n",
    }


def test_a_name_with_a_tab_is_rejected_unread_with_its_reason(bucket: Bucket) -> None:
    bucket.drop("one", "a\tb.csv")
    bucket.sweep()
    assert bucket.sent == []
    assert [(result.file, result.state) for result in bucket.results] == [("a\tb.csv", "rejected")]
    found = bucket.holds()
    assert "rename the file" in found.pop("rejected/a\tb.csv.reason.txt")
    assert found == {"rejected/a\tb.csv": "one"}


def test_a_name_as_long_as_a_key_may_be_is_cut_where_it_does_not_fit(bucket: Bucket) -> None:
    name = "q" * (1024 - len("drop/incoming/") - 4) + ".csv"
    for text in ("one", "two", "bad"):
        bucket.drop(text, name)
        bucket.sweep()
    found = bucket.holds()
    assert sorted(found.values()) == sorted(["one", "two", "bad", f"{name}: it is bad\n"])
    assert max(len(f"drop/{key}") for key in found) <= 1024


def test_an_object_without_bytes_is_sent_like_any_other(bucket: Bucket) -> None:
    bucket.drop("")
    bucket.sweep()
    assert bucket.sent == [(NAME, "")]
    assert bucket.holds() == {f"processed/{NAME}": ""}


def test_sub_folders_markers_and_unfinished_files_are_left_alone(bucket: Bucket) -> None:
    kept = ["sub/in.csv", "/odd.csv", ".hidden", "_SUCCESS", "_temporary", "x.csv.part", "X.TMP", "x.csv._COPYING_"]
    for name in kept:
        bucket.drop("x", name)
    bucket.drop("", "")
    bucket.drop("", "marker/")
    bucket.drop("", "marked", ContentType="application/x-directory; charset=UTF-8")
    bucket.drop("", "old_$folder$")
    bucket.drop("one")
    before = bucket.holds()
    bucket.sweep()
    assert bucket.sent == [(NAME, "one")]
    del before[f"incoming/{NAME}"]
    assert bucket.holds() == {**before, f"processed/{NAME}": "one"}


def test_an_empty_prefix_is_an_empty_folder(bucket: Bucket) -> None:
    assert bucket.folder.whole(0) == []


def test_a_bucket_without_a_prefix_is_a_folder_too(bucket: Bucket) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="incoming/a.csv", Body=b"one")
    bucket.sweep(open_folder(f"s3://{bucket.name}/", s3_endpoint=f"{bucket.endpoint}/"))
    assert bucket.holds() == {"processed/a.csv": "one"}


def test_the_oldest_file_is_first(bucket: Bucket) -> None:
    bucket.drop("first", "z.csv")
    time.sleep(1.1)  # S3's times are whole seconds.
    bucket.drop("second", "a.csv")
    bucket.drop("third", "b.csv")
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["first", "second", "third"]


def test_no_more_files_are_looked_at_than_the_look_ahead(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_folder, "LOOK_AHEAD", 2)
    for number in range(5):
        bucket.drop(str(number), f"{number}.csv")
    assert len(bucket.folder.whole(0)) == 2
    with Watching(bucket):
        wait_until(lambda: len(bucket.sent) == 5)


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("/data/drop", {}, "use the folder itself"),
        ("file:///data/drop", {}, "use the folder itself"),
        ("ftp://host/drop", {}, "write s3://bucket/prefix or hdfs://"),
        ("s3://key:secret-word@bucket/drop", {}, "leave them out"),
        ("s3://bucket/drop", {"s3_endpoint": "http://key:secret-word@localhost:9000"}, "leave them out"),
        ("hdfs://hugo:secret-word@namenode/drop", {"webhdfs_url": "http://namenode:9870"}, "leave them out"),
        ("hdfs://namenode/drop", {"webhdfs_url": "http://hugo:secret-word@namenode:9870"}, "leave them out"),
        ("s3:///drop", {}, "write s3://bucket/prefix"),
        ("s3://bucket/a/../b", {}, "write the path in full"),
        ("s3://bucket/a//b", {}, "write the path in full"),
        ("s3://bucket/a?versionId=1", {}, "write scheme://host:port/path"),
        ("s3://bucket/drop", {"s3_endpoint": "localhost:9000"}, "write it like http://localhost:9000"),
        ("s3://bucket/drop", {"s3_endpoint": "http://localhost:nine"}, "write scheme://host:port/path"),
        ("s3://bucket/drop", {"s3_endpoint": "http://localhost/path"}, "write it like http://localhost:9000"),
        ("hdfs://namenode/drop", {}, "http://namenode:9870"),
        ("hdfs://namenode/drop", {"webhdfs_url": "hdfs://namenode:8020"}, "write it like http://namenode:9870"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_what_to_write(
    url: str, more: dict[str, str], says: str
) -> None:
    with pytest.raises(Fatal) as raised:
        open_folder(url, **more)
    assert says in str(raised.value)
    assert "secret-word" not in str(raised.value)


def test_opening_a_folder_asks_nothing_of_the_store() -> None:
    assert str(open_folder("hdfs://namenode:8020/data/drop/", webhdfs_url="http://127.0.0.1:1/")) == "/data/drop"
    assert str(open_folder("s3://bucket/a/b", s3_endpoint="https://127.0.0.1:1")) == "bucket/a/b"

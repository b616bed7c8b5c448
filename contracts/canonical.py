"""One text form for the values of a row, the same in Spark, in Postgres and in Python, and the hashes of it.

`h1` (the algorithm's tag), then per column `N;` for NULL or `<length>:<text>;`, the length in characters (Unicode
code points), so that no two rows have one text. Integers are decimal digits whatever their width (int -> bigint keeps
a key), decimal(p,s) has exactly s digits after the point, timestamps are UTC with microseconds, doubles hexadecimal.
An array is its elements' parts one after another, a struct its declared fields', a map its entries' (key, value)
sorted by their UTF-8 bytes; JSON columns are read by their declared type, so neither key order nor spacing matters.

`_key` is the SHA-256 of the key columns' text, `_hash` that of all columns of the contract; where a row has fields
that the contract does not declare, their map follows behind an `r`.

**Fingerprint** of a table: its number of rows and the sum of the first 60 bits of each row's `_hash`. A sum does not
depend on order and, unlike XOR, sees a row that is there twice; 60 bits fit a signed bigint in both engines, and a
sum of them fits decimal(38,0) up to 10^19 rows. Two tables that differ have one fingerprint with probability 2^-60;
it guards against accidents, not against an adversary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from contracts import canonical_postgres, canonical_python, canonical_spark
from contracts.spark_types import RESCUED, RESCUED_TYPE, parse_type
from contracts.stream import Column, Stream

TAG = "h1"
UNFIT_FOR_KEYS = ("double", "float", "array", "map", "struct")


def check_key(columns: Sequence[Column]) -> None:
    """Refuse columns of which no key can be made (ValueError): floating point and nested types."""
    for column in columns:
        if parse_type(column.spark_type).name in UNFIT_FOR_KEYS:
            raise ValueError(
                f"column {column.name} is {column.spark_type}: a key needs values that print alike everywhere; "
                "use an integer, decimal, string, boolean, date or timestamp"
            )


def content_text_spark(columns: Sequence[Column], alias: str = "") -> str:
    """Spark SQL for the canonical text of these columns, read from `alias` if given. The session is in UTC."""
    table = f"{alias}." if alias else ""
    parts = (canonical_spark.part(f"{table}`{c.name}`", parse_type(c.spark_type)) for c in columns)
    return f"concat('{TAG}', {', '.join(parts)})"


def content_text_postgres(columns: Sequence[Column], alias: str = "") -> str:
    """Postgres SQL for the same text."""
    table = f"{alias}." if alias else ""
    parts = (
        canonical_postgres.part(
            canonical_postgres.as_declared(table + canonical_postgres.quoted(c.name), c), parse_type(c.spark_type)
        )
        for c in columns
    )
    return f"('{TAG}' || {' || '.join(parts)})"


def content_text_python(columns: Sequence[Column]) -> Callable[[Mapping[str, object]], str]:
    """The reference: a function from a row to the same text."""
    parts = [(c.name, canonical_python.part_of(parse_type(c.spark_type))) for c in columns]
    return lambda row: TAG + "".join([part(row.get(name)) for name, part in parts])


def key_text_spark(columns: Sequence[Column], alias: str = "") -> str:
    """`content_text_spark` of key columns; ValueError for a type of which no key can be made."""
    check_key(columns)
    return content_text_spark(columns, alias)


def key_text_postgres(columns: Sequence[Column], alias: str = "") -> str:
    """`content_text_postgres` of key columns; ValueError for a type of which no key can be made."""
    check_key(columns)
    return content_text_postgres(columns, alias)


def key_spark(columns: Sequence[Column], alias: str = "") -> str:
    """Spark SQL for `_key`, 32 bytes."""
    return canonical_spark.sha256(key_text_spark(columns, alias))


def key_postgres(columns: Sequence[Column], alias: str = "") -> str:
    """Postgres SQL for `_key`, 32 bytes."""
    return canonical_postgres.sha256(key_text_postgres(columns, alias))


def key_python(columns: Sequence[Column]) -> Callable[[Mapping[str, object]], bytes]:
    """The reference: a function from a row to its `_key`."""
    check_key(columns)
    return hash_python(columns)


def hash_spark(columns: Sequence[Column], alias: str = "") -> str:
    """Spark SQL for `_hash`, 32 bytes."""
    return canonical_spark.sha256(content_text_spark(columns, alias))


def row_hash_spark(stream: Stream) -> str:
    """Spark SQL for the `_hash` of a history row: two rows that differ in an undeclared field alone are two, and a row
    without any has the hash that it had before its stream kept such fields."""
    if not stream.rescues:
        return hash_spark(stream.columns)
    rescued = canonical_spark.part(f"`{RESCUED}`", parse_type(RESCUED_TYPE))
    tail = f"if(`{RESCUED}` is null, '', concat('r', {rescued}))"
    return canonical_spark.sha256(f"concat({content_text_spark(stream.columns)}, {tail})")


def hash_postgres(columns: Sequence[Column], alias: str = "") -> str:
    """Postgres SQL for `_hash`, 32 bytes."""
    return canonical_postgres.sha256(content_text_postgres(columns, alias))


def hash_python(columns: Sequence[Column]) -> Callable[[Mapping[str, object]], bytes]:
    """The reference: a function from a row to its `_hash`."""
    text = content_text_python(columns)
    return lambda row: canonical_python.sha256(text(row))


def fingerprint_of_hash_spark(digest: str) -> str:
    """Spark SQL select list `row_count, fingerprint` over rows whose `_hash` is at hand."""
    bits = canonical_spark.first_60_bits(digest)
    return f"count(*) as row_count, coalesce(sum({bits}), cast(0 as decimal(38,0))) as fingerprint"


def table_fingerprint_spark(columns: Sequence[Column], alias: str = "") -> str:
    """Spark SQL select list `row_count bigint, fingerprint decimal(38,0)` of a table's rows."""
    return fingerprint_of_hash_spark(hash_spark(columns, alias))


def table_fingerprint_postgres(columns: Sequence[Column], alias: str = "") -> str:
    """Postgres SQL select list `row_count, fingerprint` (numeric), equal to Spark's for equal rows."""
    bits = canonical_postgres.first_60_bits(hash_postgres(columns, alias))
    return f"count(*) as row_count, coalesce(sum({bits}), 0)::numeric(38,0) as fingerprint"


def fingerprint_python(digests: Iterable[bytes]) -> tuple[int, int]:
    """The reference: row count and fingerprint of the rows with these `_hash` values."""
    count = total = 0
    for digest in digests:
        count += 1
        total += canonical_python.first_60_bits(digest)
    return count, total

"""From what was decoded to the history's columns, with a refusal where a row is not as its contract says."""

from __future__ import annotations

from pyspark.sql import DataFrame

from contracts.stream import Stream
from streaming_jobs.transforms.key import add_key
from streaming_jobs.transforms.validate import cast_fields, validate


def judge(decoded: DataFrame, stream: Stream, epoch: int) -> DataFrame:
    """Cast, validated and keyed; `epoch` is that of the topic."""
    return decoded.transform(cast_fields, stream).transform(validate, stream).transform(add_key, stream, epoch)

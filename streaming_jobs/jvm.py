"""Classes of the session's JVM, each looked up once.

Every step of `jvm.org.apache…` is a call in which the JVM looks for a class of that name in all of its jars; a batch
takes dozens of such steps.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def java(jvm: Any, name: str) -> Any:
    """The class of this full name; an inner one, and Scala's objects, as Java spells them (`Outer$Inner`, `None$`)."""
    return getattr(jvm, name)


@cache
def none_of(jvm: Any) -> Any:
    """Scala's None."""
    return getattr(java(jvm, "scala.None$"), "MODULE$")

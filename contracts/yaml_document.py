"""A YAML file that remembers on which line each value stands, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from contracts.errors import ContractError

Place = Sequence[str | int]
# The C loader is ten times faster and in every wheel; a PyYAML built without libyaml lacks it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 100


class YamlDocument:
    """One YAML file, read once: `data` as YAML's safe loader gives it."""

    def __init__(self, file: Path, *, may_be_empty: bool = False) -> None:
        """Raise ContractError if the file cannot be read, is no YAML mapping, has a key twice (YAML would keep the
        last one in silence), a value that contradicts its type, or is nested more than 100 levels deep."""
        self.file = file
        try:
            text = file.read_text(encoding="utf-8-sig")
            self._refuse_depth(text)
            self._root = _LOADER(text).get_single_node()
        except OSError as problem:
            raise ContractError(f"cannot be read: {problem.strerror}", file=file) from None
        except yaml.MarkedYAMLError as problem:
            line = problem.problem_mark.line + 1 if problem.problem_mark else None
            raise ContractError(f"is not YAML: {problem.problem}", file=file, line=line) from None
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise ContractError(f"is not YAML in UTF-8: {problem}", file=file) from None
        if self._root:
            self._refuse_repeated_keys(self._root, set(), set())
        self.data: Any = self._construct()
        if self.data is None and may_be_empty:
            self.data = {}
        if not isinstance(self.data, dict):
            raise ContractError("holds no YAML mapping", file=file, line=1, write="`name: value` lines")

    def line(self, place: Place) -> int:
        """The line of the value at this path of keys and indexes, or of the nearest thing around it."""
        lines = [line for _, line in self._path(place)]
        return lines[-1] if lines else 1

    def text(self, place: Place) -> str:
        """The scalar at this path as it is written, before YAML made a number of it; empty if none stands there."""
        path = list(self._path(place))
        node = path[-1][0] if path and len(path) == len(place) else None
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def error(self, what: str, place: Place = (), write: str = "") -> ContractError:
        """The error that something at this path is wrong; the caller raises it."""
        return ContractError(what, file=self.file, line=self.line(place), write=write)

    def _path(self, place: Place) -> Iterator[tuple[yaml.Node, int]]:
        """Node and line of each step that is there."""
        node = self._root
        for step in place:
            found = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == step:
                        found, line = value, key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
                line = found.start_mark.line + 1
            if found is None:
                return
            yield found, line
            node = found

    def _construct(self) -> Any:
        if not self._root:
            return None
        try:
            return yaml.constructor.SafeConstructor().construct_document(self._root)
        except yaml.MarkedYAMLError as problem:
            line = problem.problem_mark.line + 1 if problem.problem_mark else None
            raise ContractError(f"is not YAML: {problem.problem}", file=self.file, line=line) from None
        except Exception as problem:
            # A scalar that its tag does not fit: PyYAML lets out whatever Python raised (`2026-02-30`, `!!int abc`).
            scalars = _scalars(self._root, set())
            line = next((node.start_mark.line + 1 for node in scalars if not _readable(node)), None)
            raise ContractError(f"holds a value that its type refuses: {problem}", file=self.file, line=line) from None

    def _refuse_depth(self, text: str) -> None:
        # Composing nodes recurses in C, where too many levels end the process.
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _DEEPEST:
                line = event.start_mark.line + 1 if event.start_mark else None
                raise ContractError(f"is nested more than {_DEEPEST} levels deep", file=self.file, line=line)

    def _refuse_repeated_keys(self, node: yaml.Node, around: set[int], done: set[int]) -> None:
        if isinstance(node, yaml.ScalarNode) or id(node) in done:
            return
        if id(node) in around:
            raise ContractError("holds an alias of what is around it", file=self.file, line=node.start_mark.line + 1)
        around.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_repeated_keys(item, around, done)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    line = key.start_mark.line + 1
                    raise ContractError(f"`{key.value}` stands here a second time", file=self.file, line=line)
                seen.add(str(key.value))
                self._refuse_repeated_keys(value, around, done)
        around.remove(id(node))
        done.add(id(node))


def _scalars(node: yaml.Node, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node
        return
    for item in node.value:
        for inner in item if isinstance(item, tuple) else (item,):
            yield from _scalars(inner, seen)


def _readable(node: yaml.ScalarNode) -> bool:
    try:
        yaml.constructor.SafeConstructor().construct_document(node)
    except Exception:
        return False
    return True

"""A YAML file that remembers on which line each value stands, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from contracts.errors import ContractError

Place = Sequence[str | int]
# The C loader is ten times faster and in every wheel; a PyYAML built without libyaml lacks it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlDocument:
    """One YAML file, read once: `data` as YAML's safe loader gives it."""

    def __init__(self, file: Path) -> None:
        """Raise ContractError if the file cannot be read, is no YAML mapping, or has a key twice (YAML would keep
        the last one in silence)."""
        self.file = file
        try:
            text = file.read_text(encoding="utf-8")
            loader = _LOADER(text)
            self._root = loader.get_single_node()
            self.data: Any = loader.construct_document(self._root) if self._root else None
        except OSError as problem:
            raise ContractError(f"cannot be read: {problem.strerror}", file=file) from None
        except yaml.MarkedYAMLError as problem:
            line = problem.problem_mark.line + 1 if problem.problem_mark else None
            raise ContractError(f"is not YAML: {problem.problem}", file=file, line=line) from None
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise ContractError(f"is not YAML in UTF-8: {problem}", file=file) from None
        if not isinstance(self.data, dict):
            raise ContractError("holds no YAML mapping", file=file, line=1, write="`name: value` lines")
        self._refuse_repeated_keys(self._root)

    def line(self, place: Place) -> int:
        """The line of the value at this path of keys and indexes, or of the nearest thing around it."""
        node, line = self._root, 1
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
                break
            node = found
        return line

    def error(self, what: str, place: Place = (), write: str = "") -> ContractError:
        """The error that something at this path is wrong; the caller raises it."""
        return ContractError(what, file=self.file, line=self.line(place), write=write)

    def _refuse_repeated_keys(self, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_repeated_keys(item)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    line = key.start_mark.line + 1
                    raise ContractError(f"`{key.value}` stands here a second time", file=self.file, line=line)
                seen.add(str(key.value))
                self._refuse_repeated_keys(value)

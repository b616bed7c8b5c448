"""Whatever stands in a YAML file, it is read or refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ContractError
from contracts.yaml_document import YamlDocument

REFUSED = {
    "a day that no month has": ("a: 1\nb: 2026-02-30\n", 2, "day is out of range"),
    "a list that holds itself": ("a: 1\nb: &b [*b]\n", 2, "alias of what is around it"),
    "a mapping that holds itself": ("a: 1\nb: &b {c: *b}\n", 2, "alias of what is around it"),
    "a tag that does not fit": ("a: 1\nb: !!int abc\n", 2, "type refuses"),
    "a tag that fits nothing": ("a: 1\nb: !!timestamp abc\n", 2, "type refuses"),
    "a number too long": ("a: 1\nb: " + "7" * 5000 + "\n", 2, "digits"),
    "a list in a key": ("a: 1\n? [x, {}]\n: 2\n", 2, "unhashable"),
    "a hundred levels": ("a: 1\nb: " + "[" * 100 + "]" * 100 + "\n", 2, "100 levels"),
    "levels that end the C loader": ("a: 1\nb: " + "[" * 30_000, 2, "100 levels"),
    "a key twice, deep inside": ("a: 1\nb: [{c: 1,\n c: 2}]\n", 3, "`c` stands here a second time"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, "another document"),
    "a tab": ("a: 1\n\tb: 2\n", 2, "is not YAML"),
    "no mapping": ("- a\n", 1, "no YAML mapping"),
    "nothing": ("# a remark\n", 1, "no YAML mapping"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_at_its_line(case: str, tmp_path: Path) -> None:
    text, line, message = REFUSED[case]
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError) as refused:
        YamlDocument(file)
    assert message in str(refused.value)
    assert (refused.value.file, refused.value.line) == (file, line)


def test_aliases_of_aliases_are_read_once(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 40)), "utf-8")
    assert YamlDocument(file).data["a0"] == [1]


def test_a_value_is_found_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa:\n  - {b: 0.10}\n")
    document = YamlDocument(file)
    assert document.text(("a", 0, "b")) == "0.10"
    assert document.text(("a", 0)) == document.text(("a", 1, "b")) == document.text(()) == ""
    assert document.line(("a", 0, "b", "c")) == 2

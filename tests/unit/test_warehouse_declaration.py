"""SQL files are cut where statements end, and tables.yaml is refused at its line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import ContractError
from contracts.loader import load_pipeline
from warehouse_sql import declaration
from warehouse_sql.sql_files import one_statement, statements

PIPELINE = load_pipeline("edtech")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PIPELINE.warehouse_sql_dir, tmp_path / "edtech"))


def load(folder: Path) -> declaration.Warehouse:
    return declaration.load(replace(PIPELINE, warehouse_sql_dir=folder))


SPARK = {
    "select 1 -- one; or another;\nfrom t;\n": ["select 1 -- one; or another;\nfrom t"],
    "select ';\n' as a, \"b;\nc\" as d, `e;\nf` from t": ["select ';\n' as a, \"b;\nc\" as d, `e;\nf` from t"],
    "select 'it\\';\n' as a;\nselect 2": ["select 'it\\';\n' as a", "select 2"],
    "select r'a\\';\nselect 2": ["select r'a\\'", "select 2"],
    "select 1; select 2;": ["select 1", "select 2"],
    "select 1; -- done\n/* all; of it */\n": ["select 1"],
    "select /*+ hint */ 1 /* a;\nb */": ["select /*+ hint */ 1 /* a;\nb */"],
    "select 1,\n  -- not '\n  2": ["select 1,\n  2"],
    "select '\n-- no comment\n' as a": ["select '\n-- no comment\n' as a"],
    "\ufeff-- what\nselect 1": ["select 1"],
    "select 'open;": ["select 'open"],
}
POSTGRES = {
    "select 'a\\';\nselect 2": ["select 'a\\'", "select 2"],
    "select e'a\\';\n', 'it''s;'": ["select e'a\\';\n', 'it''s;'"],
    "do $x$ begin; end $$; $x$;\nselect $$;$$": ["do $x$ begin; end $$; $x$", "select $$;$$"],
}


@pytest.mark.parametrize("text", SPARK)
def test_a_semicolon_in_quotes_or_comments_ends_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.sql"
    path.write_text(text, encoding="utf-8")
    assert statements(path) == SPARK[text]


@pytest.mark.parametrize("text", POSTGRES)
def test_files_of_postgres_are_read_by_its_rules(tmp_path: Path, text: str) -> None:
    path = tmp_path / "postgres" / "ddl" / "x.sql"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert statements(path) == POSTGRES[text]


@pytest.mark.parametrize("name", ["checks", "queries", "parquet", "source"])
def test_a_second_statement_is_refused_where_one_belongs(folder: Path, name: str) -> None:
    path = next(iter(sorted((folder / name).glob("*.sql"))))
    path.write_text(path.read_text("utf-8").rstrip().rstrip(";") + "; select 2\n", "utf-8")
    with pytest.raises(ContractError, match=rf"{path.name}: holds 2 statements"):
        load(folder)


@pytest.mark.parametrize("text", ["select 1;\n", "select 1 -- ;\n"])
def test_one_statement_is_that_statement(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.sql").write_text(text)
    assert one_statement(tmp_path / "x.sql") == text.strip().rstrip(";" if text[8] == ";" else "")


WRONG = {
    "a table twice": ("  dim_date:\n", "  dim_student:\n    key: x\n  dim_date:\n", "second time"),
    "an unknown word": ("key: student_key", "keys: student_key", "correct"),
    "a key that is no name": ("key: student_key", "key: student-key", "`student-key` is no name"),
    "a table that is no name": ("dim_date:\n", "../dim_date:\n", "`../dim_date` is no name"),
    "a view that is no name": ("[engagement_weight]", "[../x]", "`../x` is no name"),
    "no column": ("natural: [student_id]", "natural: [pupil_id]", "`natural` names 'pupil_id', no column of students"),
    "no YAML": ("kind: generated", "kind: [generated", "is not YAML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_declaration_is_refused_at_its_line(case: str, folder: Path) -> None:
    old, new, message = WRONG[case]
    path = folder / "tables.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ContractError) as refused:
        load(folder)
    assert message in str(refused.value)
    assert refused.value.file == path
    assert refused.value.line
    assert refused.value.line > 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "- dim_student\n", "tables\n"])
def test_a_declaration_that_is_no_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "tables.yaml").write_text(text)
    with pytest.raises(ContractError, match=r"tables\.yaml:1: holds no YAML mapping"):
        load(folder)

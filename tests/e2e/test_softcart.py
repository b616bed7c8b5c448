"""docs/sources.md on softcart, typed as it stands there: a MariaDB and an export of MongoDB, to the proof."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.endpoints import MariadbEndpoint
from contracts.errors import HeadraceError
from infra.mariadb import server
from tests.conftest import missing_service
from tests.e2e.shell import Shell
from tests.services import mariadb_server
from tests.services.test_mariadb import CONFIGURED

REPOSITORY = Path(__file__).parents[2]
SECTION = (REPOSITORY / "docs" / "sources.md").read_text("utf-8").split("`softcart` is a bundled pipeline")[1]
(SETTINGS,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
BEGIN, FOLLOW = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbEndpoint]:
    """A MariaDB server that is configured as the text says."""
    try:
        server()
    except HeadraceError as error:
        missing_service(str(error))
    with mariadb_server.running(tmp_path_factory.mktemp("mariadb")) as owner:
        mariadb_server.run(owner, CONFIGURED)
        yield owner


@pytest.fixture
def shell(owner: MariadbEndpoint, tmp_path: Path) -> Iterator[Shell]:
    """A terminal in a folder with the repository's connectors, whose `mariadb` finds the server without being told."""
    (tmp_path / "connectors").symlink_to(REPOSITORY / "connectors")
    assert "port: 3306" in SETTINGS
    (tmp_path / "headrace.yaml").write_text(SETTINGS.replace("port: 3306", f"port: {owner.port}"), "utf-8")
    exported = dict(re.findall(r"(HEADRACE_\w+)=(\S+)", BEGIN))
    shell = Shell(tmp_path, MYSQL_HOST=owner.host, MYSQL_TCP_PORT=str(owner.port), **exported)
    try:
        yield shell
    finally:
        shell.type("headrace reset --yes")


@pytest.mark.chaos  # a deployment of its own; tests/services/test_mariadb.py has its edges in the gate
@pytest.mark.timeout(1800)
def test_softcart_from_nothing_to_the_proof(shell: Shell, tmp_path: Path) -> None:
    sample = str(tmp_path / "sample")
    begun = shell.type(BEGIN.replace("/tmp/softcart", sample), timeout_s=900)
    for stream in ("orders", "order_lines", "stock"):
        assert re.search(rf"{stream}: source = lake .* yes", begun), begun
    (file,) = shell.ask("headrace files")
    assert (file["stream"], file["state"]) == ("catalogue", "done")
    followed = shell.type(FOLLOW, timeout_s=600)
    assert "returned" in followed
    rows = shell.ask("headrace ledger")
    assert {row["stream"] for row in rows} == {"catalogue", "orders", "order_lines", "stock"}
    assert all(row["balanced"] for row in rows)

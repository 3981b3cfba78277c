from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.faults.invariants import Table, check_whole, table
from tests.faults.postgres import PostgresServer, postgres_server
from tests.faults.searches import complete
from tests.functional.conftest import Workplace, furnished

__all__ = ["furnished"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server without databases."""
    with postgres_server(tmp_path_factory.mktemp("postgres"), databases=()) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path, furnished: Callable[[Path], Workplace]) -> Workplace:
    """A workplace whose studies and runs are in SQLite files, or in databases of a PostgreSQL server."""
    if request.param == "sqlite":
        return furnished(tmp_path)
    server: PostgresServer = request.getfixturevalue("server")
    names = [f"{purpose}_{abs(hash(request.node.nodeid))}" for purpose in ("optuna", "mlflow")]
    for name in names:
        server.create(name)
    studies, tracking = map(server.url, names)
    return Workplace(tmp_path, tracking=tracking, studies=studies)


@pytest.fixture
def workplace(tmp_path: Path, furnished: Callable[[Path], Workplace]) -> Workplace:
    """A workplace with SQLite files."""
    return furnished(tmp_path)


@pytest.fixture(scope="session")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, furnished: Callable[[Path], Workplace]
) -> Callable[[int], Table]:
    """What a search of so many trials finds that nothing happens to."""

    @cache
    def find(n_trials: int) -> Table:
        workplace = furnished(tmp_path_factory.mktemp("uninterrupted"))
        complete(workplace, n_trials)
        check_whole(workplace, n_trials)
        return table(workplace)

    return find

"""Real searches in processes of their own, and what can be seen of them from outside."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

import psutil
import sqlalchemy

from tests.families import family_of
from tests.faults.scale import scaled
from tests.functional.conftest import Workplace

WORKERS, PAIRS = scaled(2, 1), scaled(400, 100)
SEARCH = (
    *("variantlab", "search", "--model=mlp_ws_al", "--population=2", "--folds=2", f"--pairs={PAIRS}", "--recheck=2"),
    f"--workers={WORKERS}",
)
ENDLESS = 100_000
"""Trials that no search reaches before a fault does."""


def search(workplace: Workplace, n_trials: int, *more: str) -> tuple[str, ...]:
    """The command of a small search."""
    return (*SEARCH, f"--n-trials={n_trials}", f"--storage={workplace.storage}", *more)


class Watch:
    """Looks at the study's database as nobody who searches does: without Optuna, which would create its tables."""

    def __init__(self, workplace: Workplace) -> None:
        self._sqlite = workplace.folder / "optuna.db" if workplace.storage.startswith("sqlite") else None
        self._engine = sqlalchemy.create_engine(workplace.storage, poolclass=sqlalchemy.NullPool)

    def finished(self) -> int:
        """Finished trials."""
        return int(self._ask("select count(*) from trials where state not in ('RUNNING', 'WAITING')") or 0)

    def running(self) -> int:
        """Trials that train."""
        return int(self._ask("select count(*) from trials where state = 'RUNNING'") or 0)

    def owner(self) -> int:
        """Process that searches the study; 0 for none."""
        return int(str(self._ask("select owner from variantlab_leases") or "0:0").split(":")[1] or 0)

    def token(self) -> int:
        """How often the study has changed hands."""
        return int(self._ask("select token from variantlab_leases") or 0)

    def _ask(self, question: str) -> str | int | None:
        if self._sqlite is not None and not self._sqlite.exists():
            return None
        try:
            with self._engine.connect() as connection:
                answer: str | int | None = connection.execute(sqlalchemy.text(question)).scalar()
                return answer
        except sqlalchemy.exc.DBAPIError:  # no table yet, or the server is away
            return None


@contextlib.contextmanager
def searching(
    workplace: Workplace,
    *command: str,
    environment: Mapping[str, str] | None = None,
    changed_by: Sequence[str] = (),
) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; in the end neither it nor anything that it started is left."""
    process = workplace.start(*command, environment=environment, changed_by=changed_by)
    try:
        yield process
    finally:
        if process.poll() is None:
            for member in family_of(process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


def said(output: str) -> str:
    """What a command has printed, without its progress bars."""
    return re.sub(r"[^\n]*\r", "", output)


def complete(workplace: Workplace, n_trials: int, *more: str) -> str:
    """Search to the end; what it printed."""
    code, output = workplace.run(*search(workplace, n_trials, *more))
    assert code == 0, output
    return said(output)

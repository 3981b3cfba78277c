"""PostgreSQL is restarted, as by a crash, in the middle of a search: no process ends, nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from pipeline.base.seeds import numpy_generator
from tests.faults.invariants import Table, check_whole, finished_trials, table
from tests.faults.postgres import PostgresServer
from tests.faults.scale import FEW_TRIALS, FULL, scaled
from tests.faults.searches import Watch, search, searching
from tests.functional.conftest import Workplace
from tests.waiting import wait_until

RESTARTS = scaled(5, 2)
TRIALS = scaled(40, FEW_TRIALS)


def _has_finished(watch: Watch, trials: int) -> bool:
    return watch.finished() >= trials


@pytest.mark.parametrize("tracked_there", [False, True] if FULL else [True])
def test_a_search_outlasts_restarts_of_its_database(
    server: PostgresServer, tmp_path: Path, tracked_there: bool, uninterrupted: Callable[[int], Table]
) -> None:
    names = [f"{purpose}_{tracked_there}".lower() for purpose in ("optuna", "mlflow")]
    for name in names:
        server.create(name)
    studies, tracking = map(server.url, names)
    workplace = Workplace(tmp_path, studies=studies, tracking=tracking if tracked_there else "")
    instants = numpy_generator(1, "restarts")
    acknowledged = dict[int, FrozenTrial]()
    with (
        searching(workplace, *search(workplace, TRIALS)) as process,
        searching(workplace, *search(workplace, TRIALS)) as other,
    ):
        watch = Watch(workplace)
        for number in range(1, RESTARTS + 1):
            wait_until(partial(_has_finished, watch, number * TRIALS // (RESTARTS + 2)))
            acknowledged |= finished_trials(workplace)
            for each in (process, other):
                assert each.poll() is None, each.communicate()[0]
            wait_until(lambda: watch.running() > 0)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=float(instants.uniform(0, 0.5)))
            server.restart()
        outputs = [process.communicate()[0], other.communicate()[0]]
    assert (process.returncode, other.returncode) == (0, 0), outputs
    check_whole(workplace, TRIALS, acknowledged)
    assert table(workplace) == uninterrupted(TRIALS)

"""Two searches on one study: shared, or refused; and one that was stopped beyond its grace, and wakes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

import psutil
import pytest
from libfaketime import get_reload_information

from tests.faults.invariants import Table, check_whole, finished_trials, table
from tests.faults.scale import FEW_TRIALS, FULL
from tests.faults.searches import ENDLESS, Watch, said, search, searching
from tests.functional.conftest import Workplace
from tests.waiting import wait_until


@pytest.mark.parametrize("offset", ["+0", "-1h", "+1h"] if FULL else ["+1h"])
def test_of_two_searches_one_waits_and_ends_with_the_same(workplace: Workplace, offset: str) -> None:
    """Also where the clock of one is an hour off: nobody is declared dead for that."""
    _, preloaded = get_reload_information()
    environment = workplace.environment | preloaded | {"FAKETIME": offset}
    command = search(workplace, FEW_TRIALS)
    with searching(workplace, *command, environment=environment) as first:
        watch = Watch(workplace)
        wait_until(lambda: watch.running() > 0, first)
        stop_between_transactions(first, workplace)  # else it might end before the other one has begun
        with searching(workplace, *command) as second:
            assert second.stdout is not None
            told = next(line for line in second.stdout if "this one waits" in line)
            assert f"is searched by process {first.pid}" in told
            first.send_signal(signal.SIGCONT)
            outputs = [process.communicate()[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert not any("processes that died" in output for output in outputs)
    found = [[line for line in output.splitlines() if line.startswith("mlp_ws_al:")] for output in outputs]
    assert found[0] == found[1]
    check_whole(workplace, FEW_TRIALS)


OTHERS = [
    ("--space=other.yaml", "space was"),
    ("--pooling=max", "data_digest was"),
    ("--samples=200", "pairs was 400 and is now 200"),
]


@pytest.mark.parametrize(("option", "difference"), OTHERS if FULL else OTHERS[:1])
def test_a_second_search_with_something_else_is_refused_with_the_difference(
    workplace: Workplace, option: str, difference: str
) -> None:
    (workplace.folder / "other.yaml").write_text("lr: {type: float, low: 0.001, high: 0.01, log: true}\n")
    with searching(workplace, *search(workplace, ENDLESS, "--study=one")) as first:
        watch = Watch(workplace)
        wait_until(lambda: watch.running() > 0, first)
        code, output = workplace.run(*search(workplace, ENDLESS, "--study=one", option))
        assert first.poll() is None
    assert code == 2
    [error] = said(output).strip().splitlines()
    assert difference in error
    assert "choose another --study" in error
    assert len([run for run in workplace.runs() if run.data.tags["role"] == "search"]) == 1


def stop_between_transactions(process: subprocess.Popen[str], workplace: Workplace) -> None:
    """Inside of one, a file would stay locked until the process wakes."""
    files = [workplace.folder / name for name in ("optuna.db", "mlflow.db")]
    with ExitStack() as stack:
        databases = [stack.enter_context(closing(sqlite3.connect(file, 0, isolation_level=None))) for file in files]
        while True:
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
            with suppress(sqlite3.OperationalError):
                for database in databases:
                    database.execute("BEGIN IMMEDIATE")
                    database.execute("ROLLBACK")
                return
            process.send_signal(signal.SIGCONT)


def test_what_a_stopped_process_tells_after_another_has_taken_over_is_discarded(
    workplace: Workplace, uninterrupted: Callable[[int], Table]
) -> None:
    with searching(workplace, *search(workplace, FEW_TRIALS)) as stopped:
        watch = Watch(workplace)
        wait_until(lambda: watch.finished() >= 2 and watch.running() > 0, stopped)
        stop_between_transactions(stopped, workplace)
        acknowledged = finished_trials(workplace)
        code, output = workplace.run(*search(workplace, FEW_TRIALS), changed_by=("give_up_sooner",))
        assert code == 0, output
        assert f"process {stopped.pid}" in output
        check_whole(workplace, FEW_TRIALS, acknowledged)
        os.kill(stopped.pid, signal.SIGCONT)
        late = stopped.communicate()[0]
    assert stopped.returncode == 1, late
    assert "another one has taken over" in late
    check_whole(workplace, FEW_TRIALS, acknowledged)
    assert table(workplace) == uninterrupted(FEW_TRIALS)

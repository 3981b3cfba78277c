"""Ctrl-C, SIGTERM and a closed terminal, whomever they reach: all ends soon, and the search goes on later."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from pipeline.base.interruptions import SIGNALS
from tests.families import family_of, workers_of
from tests.faults.invariants import check_nothing_runs, check_whole, finished_trials, more_trials
from tests.faults.scale import FULL, scaled
from tests.faults.searches import ENDLESS, SEARCH, Watch, complete, search, searching
from tests.functional.conftest import ROOT, Workplace
from tests.waiting import wait_until

LONGEST_END = scaled(5, 60)
"""Seconds from the signal to the last process's end; the short form runs beside other tests."""
OPTIONS = {option.split("=")[0][2:]: option.split("=")[1] for option in SEARCH[2:]}


def by_mlflow(workplace: Workplace, n_trials: int) -> tuple[str, ...]:
    """The same search as a project's run."""
    parameters = {**OPTIONS, "n_trials": str(n_trials), "storage": workplace.storage}
    given = [part for name, value in parameters.items() for part in ("-P", f"{name}={value}")]
    return ("mlflow", "run", str(ROOT), "--env-manager", "local", "-e", "search", *given)


def stage_of(first: psutil.Process) -> psutil.Process:
    """The search below `mlflow run`."""
    return next(each for each in family_of(first.pid) if each.cmdline()[1:4] == ["-m", "pipeline", "search"])


def to_worker(first: psutil.Process, number: int) -> None:
    workers_of(stage_of(first).pid)[0].send_signal(number)


def to_stage(first: psutil.Process, number: int) -> None:
    stage_of(first).send_signal(number)


def to_mlflow_run(first: psutil.Process, number: int) -> None:
    first.send_signal(number)


def to_the_group(first: psutil.Process, number: int) -> None:
    os.killpg(first.pid, number)


CASES = [(send, number) for number in SIGNALS for send in (to_worker, to_stage, to_mlflow_run, to_the_group)]


@pytest.mark.parametrize(
    ("send", "number"), CASES if FULL else [(to_worker, signal.SIGINT), (to_the_group, signal.SIGHUP)]
)
def test_all_ends_soon_and_the_search_goes_on_later(
    workplace: Workplace, send: Callable[[psutil.Process, int], None], number: signal.Signals
) -> None:
    with searching(workplace, *by_mlflow(workplace, ENDLESS)) as process:
        watch = Watch(workplace)
        wait_until(lambda: watch.finished() >= 2 and watch.running() > 0, process)
        everybody = family_of(process.pid)
        began = time.monotonic()
        send(everybody[0], number)
        _, left = psutil.wait_procs(everybody, timeout=LONGEST_END)
        took = time.monotonic() - began
        for each in left:
            each.kill()
        output = process.communicate()[0]
    assert not left, f"{left}\n{output}"
    assert took < LONGEST_END
    assert {run.info.status for run in workplace.runs() if run.data.tags["role"] == "search"} == {"KILLED"}
    check_nothing_runs(workplace)
    acknowledged = finished_trials(workplace)
    n_trials = more_trials(workplace)
    assert "processes that died" not in complete(workplace, n_trials)  # nothing was left to repair
    check_whole(workplace, n_trials, acknowledged)


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ([signal.SIGINT, signal.SIGTERM], 130),  # what `mlflow run` sends on Ctrl-C
        *([([signal.SIGTERM], 143), ([signal.SIGHUP], 129)] if FULL else []),
    ],
)
def test_by_itself_a_search_exits_with_the_status_of_the_first_signal(
    workplace: Workplace, numbers: list[signal.Signals], status: int
) -> None:
    with searching(workplace, *search(workplace, ENDLESS)) as process:
        watch = Watch(workplace)
        wait_until(lambda: watch.finished() >= 2 and watch.running() > 0, process)
        everybody = family_of(process.pid)
        for number in numbers:
            process.send_signal(number)
        output = process.communicate(timeout=LONGEST_END)[0]
        _, left = psutil.wait_procs(everybody, timeout=LONGEST_END)
        for each in left:
            each.kill()
    assert not left, output
    assert process.returncode == status, output
    assert {run.info.status for run in workplace.runs() if run.data.tags["role"] == "search"} == {"KILLED"}
    check_nothing_runs(workplace)


def is_started(first: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # what it asks git for, for instance
        return any(each.cmdline()[1:3] == ["-m", "pipeline"] for each in family_of(first.pid))
    return False


def is_importing_torch(first: psutil.Process) -> bool:
    if not is_started(first):
        return False
    with suppress(psutil.NoSuchProcess, StopIteration):
        return any("libtorch_cpu" in each.path for each in stage_of(first).memory_maps())
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL] if FULL else [signal.SIGKILL])
@pytest.mark.parametrize("has_come", [is_started, is_importing_torch])
def test_ended_before_its_stage_has_begun_a_project_leaves_no_run_open(
    workplace: Workplace, has_come: Callable[[psutil.Process], bool], number: signal.Signals
) -> None:
    """In the seconds in which the stage imports what it needs."""
    with searching(workplace, *by_mlflow(workplace, ENDLESS)) as process:
        wait_until(lambda: has_come(psutil.Process(process.pid)), process)
        everybody = family_of(process.pid)
        os.kill(process.pid, number)
        _, left = psutil.wait_procs(everybody, timeout=LONGEST_END)
        for each in left:
            each.kill()
        output = process.communicate()[0]
    assert not left, output
    assert [run.info.status for run in workplace.runs()] == ["KILLED"]

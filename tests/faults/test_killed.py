"""SIGKILL: at random instants inside live work, with several processes on one study; and at each named step."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import pytest
from optuna.trial import FrozenTrial

from pipeline.base.seeds import numpy_generator
from tests.changes import STEPS
from tests.faults.invariants import Table, check_whole, finished_trials, more_trials, table
from tests.faults.scale import FEW_TRIALS, FULL, scaled
from tests.faults.searches import ENDLESS, Watch, complete, search, searching
from tests.functional.conftest import Workplace
from tests.waiting import wait_until

PROCESSES = scaled(4, 2)
KILLS = scaled(50, 3)
LONGEST_LIFE = 2.0
"""Seconds of live work after which a process is killed at the latest."""


def at_work(watch: Watch, processes: Sequence[subprocess.Popen[str]]) -> subprocess.Popen[str] | None:
    """The process that searches, once it trains."""
    owner = watch.owner()
    return next((each for each in processes if each.pid == owner and watch.running() > 0), None)


def test_killed_at_random_instants_processes_of_one_study_lose_nothing_and_overrun_nothing(stores: Workplace) -> None:
    instants = numpy_generator(0, "instants")
    watch = Watch(stores)
    acknowledged = dict[int, FrozenTrial]()
    with ExitStack() as stack:
        running = [stack.enter_context(searching(stores, *search(stores, ENDLESS))) for _ in range(PROCESSES)]
        for kill in range(KILLS):
            owner = wait_until(partial(at_work, watch, running), *running)
            assert owner is not None
            with suppress(subprocess.TimeoutExpired):
                owner.wait(timeout=float(instants.uniform(0, LONGEST_LIFE)))
                raise AssertionError(owner.communicate()[0])
            os.kill(owner.pid, signal.SIGKILL)
            acknowledged = {**finished_trials(stores), **acknowledged}
            running.remove(owner)
            if kill < KILLS - PROCESSES:
                running.append(stack.enter_context(searching(stores, *search(stores, ENDLESS))))
    acknowledged = {**finished_trials(stores), **acknowledged}
    n_trials = more_trials(stores)
    assert "processes that died had left" in complete(stores, n_trials)
    check_whole(stores, n_trials, acknowledged)


@pytest.mark.parametrize("stores", ["sqlite", "postgresql"] if FULL else ["postgresql"], indirect=True)
def test_processes_on_one_study_share_its_budget_exactly(stores: Workplace) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(searching(stores, *search(stores, 7))) for _ in range(PROCESSES)]
        outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, outputs
    found = [line for output in outputs for line in output.splitlines() if line.startswith("mlp_ws_al: mean")]
    assert len(found) == PROCESSES
    assert len(set(found)) == 1
    check_whole(stores, 7)


@pytest.mark.parametrize("step", STEPS if FULL else ["log:after", "tell:before"])
def test_killed_at_a_named_step_it_recovers(
    step: str, workplace: Workplace, uninterrupted: Callable[[int], Table]
) -> None:
    code, output = workplace.run(*search(workplace, FEW_TRIALS), changed_by=("die_at", *step.split(":")))
    assert code == -signal.SIGKILL, output
    acknowledged = finished_trials(workplace) if Watch(workplace).token() else {}
    assert "goes on: " in complete(workplace, FEW_TRIALS) or not acknowledged
    check_whole(workplace, FEW_TRIALS, acknowledged)
    assert table(workplace) == uninterrupted(FEW_TRIALS)

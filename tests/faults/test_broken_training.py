"""Losses that are no numbers, and workers that die: a trial fails with its reason, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from optuna.trial import TrialState

from tests.families import workers_of
from tests.faults.invariants import Table, check_nothing_runs, check_whole, table
from tests.faults.scale import FEW_TRIALS
from tests.faults.searches import Watch, complete, said, search, searching
from tests.functional.conftest import Workplace
from tests.waiting import wait_until

SPACE = """
lr: {{type: choice, values: [{lrs}], default: {first}}}
optimiser: {{type: choice, values: [sgd], default: sgd}}
epochs: {{type: choice, values: [8], default: 8}}
"""


def with_space(workplace: Workplace, lrs: str) -> str:
    (workplace.folder / "space.yaml").write_text(SPACE.format(lrs=lrs, first=lrs.split(",")[0]))
    return "--space=space.yaml"


def test_a_loss_that_is_no_number_fails_its_trial_and_is_never_best(workplace: Workplace) -> None:
    output = complete(workplace, 8, with_space(workplace, "0.01, 50"), "--sampler=random", "--pruner=none")
    check_whole(workplace, 8)
    trials = workplace.study().trials
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert failed
    assert len(failed) < 8
    assert {trial.params["lr"] for trial in failed} == {50}
    assert all("the loss became" in trial.user_attrs["reason"] for trial in failed)
    assert f"{len(failed)} failed" in output
    [found] = [run for run in workplace.runs() if run.data.tags["role"] == "search"]
    assert '"lr": 0.01' in found.data.tags["config"]


def test_when_every_trial_fails_it_ends_with_one_message(workplace: Workplace) -> None:
    options = [with_space(workplace, "50"), "--sampler=random", "--pruner=none"]
    code, output = workplace.run(*search(workplace, 4, *options))
    assert code == 1
    errors = [line for line in said(output).splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert "no trial of study" in errors[0]
    assert "the loss became" in errors[0]
    check_nothing_runs(workplace)


def _is_past(watch: Watch, finished: int) -> bool:
    return watch.finished() >= finished and watch.running() > 0


def test_a_worker_that_is_killed_for_its_memory_costs_no_trial(
    workplace: Workplace, uninterrupted: Callable[[int], Table]
) -> None:
    with searching(workplace, *search(workplace, FEW_TRIALS)) as process:
        watch = Watch(workplace)
        for finished in (2, 4):
            wait_until(partial(_is_past, watch, finished), process)
            workers_of(process.pid)[0].kill()
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert "a worker process died" in output
    check_whole(workplace, FEW_TRIALS)
    assert table(workplace) == uninterrupted(FEW_TRIALS)

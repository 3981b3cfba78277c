"""A search that is killed or interrupted loses nothing, leaves nothing running, and resumes to the same table."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.functional.conftest import Workplace

SEARCH = ("variantlab", "search", "--model=mlp_ws_al", "--population=2", "--folds=2", "--pairs=400")
ENDLESS = 100_000
"""A total that no search reaches before a signal does, however late the signal comes."""
LOOK_SECONDS = 0.02
"""Between two looks at the study's database, which tells nobody when it changes."""


def search(workplace: Workplace, n_trials: int) -> tuple[str, ...]:
    return (*SEARCH, f"--n-trials={n_trials}", f"--storage={workplace.storage}")


def wait_for_trials(workplace: Workplace, count: int, process: subprocess.Popen[str]) -> None:
    """Until the study has so many finished trials; a search that ends before fails the test at once."""
    while finished(workplace) < count:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"the search ended too early, with exit code {process.wait(timeout=LOOK_SECONDS)}")


def finished(workplace: Workplace) -> int:
    """Finished trials, read without Optuna, which would create the tables that the search is about to create."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{workplace.folder}/optuna.db?mode=ro", uri=True)) as database:
            [count] = database.execute(
                "select count(*) from trials where state not in ('RUNNING', 'WAITING')"
            ).fetchone()
            return int(count)
    except sqlite3.OperationalError:  # no file, or no table yet
        return 0


def table(workplace: Workplace) -> list[tuple[dict[str, float], str, float | None]]:
    return [(trial.params, trial.state.name, trial.value) for trial in workplace.study().trials]


def stop(workplace: Workplace, *signals: signal.Signals, after: int) -> int:
    """Start an endless search, send signals after so many trials, and return the exit code; no process may stay."""
    process = workplace.start(*search(workplace, ENDLESS))
    watched = psutil.Process(process.pid)
    wait_for_trials(workplace, after, process)
    family = [watched, *watched.children(recursive=True)]
    for number in signals:
        os.kill(process.pid, number)
    output, _ = process.communicate()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, output
    return process.returncode


def check_whole(workplace: Workplace, n_trials: int) -> None:
    """One run for each trial, all below the newest search, none left open."""
    runs = workplace.runs()
    assert "RUNNING" not in {run.info.status for run in runs}
    newest = [run for run in runs if run.data.tags["role"] == "search"][-1]
    trials = [run for run in runs if run.data.tags["role"] == "trial"]
    assert sorted(int(run.data.tags["trial"]) for run in trials) == list(range(n_trials))
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {newest.info.run_id}
    trials_of_study = workplace.study().trials
    for run in trials:
        trial = trials_of_study[int(run.data.tags["trial"])]
        assert run.data.metrics["validation_error"] == trial.intermediate_values[trial.last_step or 0]
        assert run.data.metrics.get("cv_validation_error") == (trial.value if trial.state.name == "COMPLETE" else None)


def test_killed_and_started_again_it_ends_in_the_same_table(tmp_path: Path) -> None:
    through, workplace = Workplace(tmp_path / "through"), Workplace(tmp_path / "killed")
    through.folder.mkdir()
    workplace.folder.mkdir()
    stop(workplace, signal.SIGKILL, after=4)
    n_trials = len(table(workplace)) + 3
    code, output = workplace.run(*search(workplace, n_trials))
    assert code == 0, output
    assert "processes that died had left" in output
    assert "goes on:" in output
    check_whole(workplace, n_trials)
    code, output = through.run(*search(through, n_trials))
    assert code == 0, output
    assert table(workplace) == table(through)
    assert [run.info.status for run in workplace.runs("tags.role = 'search'")] == ["KILLED", "FINISHED"]


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGTERM], 130),  # what `mlflow run` sends on Ctrl-C
    ],
)
def test_interrupted_it_leaves_no_process_and_its_run_is_killed(
    tmp_path: Path, signals: list[signal.Signals], code: int
) -> None:
    workplace = Workplace(tmp_path)
    assert stop(workplace, *signals, after=2) == code
    assert [run.info.status for run in workplace.runs("tags.role = 'search'")] == ["KILLED"]
    assert "RUNNING" not in {run.info.status for run in workplace.runs()}

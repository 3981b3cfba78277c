from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from benchmarks.cells import Ratio
from benchmarks.engine import make_job
from benchmarks.machine import Hardware
from benchmarks.measure import TOLERANCE
from benchmarks.search import __main__ as command_line
from benchmarks.search import harness, optuna_search, plan, pruning, variantlab_search
from benchmarks.search.contest import Contest, hold_contest
from benchmarks.search.contestants import (
    EQUAL_SPACE,
    LIKE_PEERS,
    Contestant,
    Order,
    Result,
    Trial,
    peers,
    together,
    variantlab,
    variantlabs,
)
from benchmarks.search.folds import CrossValidation, FoldTask
from benchmarks.search.plan import Plan
from benchmarks.search.processes import Child, run_search
from benchmarks.search.pruning import Savings, measure_pruning
from benchmarks.search.sections import pruning_section, reached_table, time_table
from benchmarks.work import SEED
from pipeline.base.errors import InputError, StageError
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Dataset, Splits
from pipeline.stages.replicas import fold_replicas
from pipeline.stages.stage import Sampling
from pipeline.training.chunk import ChunkTraining
from pipeline.training.plan import compose_chunks
from tests.waiting import wait_until


@pytest.fixture(scope="session")
def task(train_digits: Dataset) -> FoldTask:
    return FoldTask(train=train_digits, held_out=train_digits, pairs=60, batch_size=12, folds=3, epochs=1)


def result(seconds: float, *errors: float, once: float = 0.0, replica_epochs: int = 0) -> Result:
    """Trials that end one after the other in equal times."""
    trials = tuple(Trial((number + 1) * seconds / len(errors), error) for number, error in enumerate(errors))
    return Result(seconds=seconds, once=once, trials=len(errors), complete=trials, replica_epochs=replica_epochs)


CONTEST = Contest(
    trials=4,
    peers=("slow", "fast"),
    rounds=(
        {"slow": result(30.0, 0.2, 0.3), "fast": result(12.0, 0.3, 0.4, once=2.0), "ours": result(11.0, 0.4, 0.1, 0.1)},
        {"slow": result(10.0, 0.2, 0.3), "fast": result(12.0, 0.3, 0.1, once=2.0), "ours": result(10.0, 0.4, 0.2)},
    ),
)


def make_order(contestant: Contestant, task: FoldTask, folder: Path, *, parallel: int = 1) -> Order:
    return Order(
        contestant=contestant, task=task, parallel=parallel, part=0, folder=folder, cache_dir=folder / "cache", seed=0
    )


def assert_has_searched(found: Result) -> None:
    """Two trials of three folds and one epoch."""
    assert (found.trials, len(found.complete), found.replica_epochs) == (2, 2, 6)
    assert all(0 <= trial.error <= 1 for trial in found.complete)
    assert all(found.once < trial.after <= found.seconds for trial in found.complete)


def test_optuna_searches_in_threads(task: FoldTask, tmp_path: Path) -> None:
    with optuna_search.ready(make_order(peers(2)[0], task, tmp_path, parallel=2)) as search:
        assert_has_searched(search(2))


@pytest.mark.parametrize("peer", peers(2)[1:], ids=lambda peer: peer.name)
def test_peers_search_in_processes(peer: Contestant, task: FoldTask, tmp_path: Path) -> None:
    if not peer.is_installed:
        pytest.skip(f"{peer.library} is not installed")
    assert_has_searched(run_search(peer, task, 2, workers=peer.processes, cache_dir=tmp_path))
    assert not multiprocessing.active_children()


def test_variantlab_searches_by_its_command_line(task: FoldTask, idx_folder: Path, tmp_path: Path) -> None:
    digits = ("--dataset", "idx", "--data-dir", str(idx_folder))
    contestant = variantlab("variantlab", EQUAL_SPACE, *LIKE_PEERS, *digits)
    with variantlab_search.ready(make_order(contestant, replace(task, pairs=20), tmp_path)) as search:
        found = search(2)
    first, second = found.complete
    assert (found.trials, found.replica_epochs) == (2, 2 * 3 * 25)
    assert found.best == min(first.error, second.error) <= 1
    assert 0 < first.after < second.after < found.seconds


def test_a_command_that_fails_is_told_with_its_last_line(task: FoldTask, tmp_path: Path) -> None:
    contestant = variantlab("variantlab", EQUAL_SPACE, "--pruner", "mediam")
    with (
        variantlab_search.ready(make_order(contestant, task, tmp_path)) as search,
        pytest.raises(StageError, match="ended with 2: Error: unknown pruner 'mediam'; did you mean median"),
    ):
        search(2)


def test_a_plain_fold_trains_as_the_engine_does(task: FoldTask) -> None:
    trial = replace(task, lr=3e-3, alpha=2.0)
    chunks = compose_chunks([make_job(trial, task.folds, epochs=4)])
    engines = [ChunkTraining(chunk, task.train, task.held_out, bfloat16=False, device="cpu") for chunk in chunks]
    outcomes = [outcome for engine in engines for outcome in engine.run(lambda _: None)]
    plain = CrossValidation(replace(task, epochs=4)).curves(lr=3e-3, alpha=2.0)
    for curves, outcome in zip(plain, outcomes, strict=True):
        assert curves.loss_E == pytest.approx(outcome.curves["train_loss"], rel=TOLERANCE)
        assert curves.loss_E[-1] < curves.loss_E[0]
        assert len(curves.held_out_error_E) == 4


def test_folds_validate_every_pair_once_and_never_train_on_it(task: FoldTask) -> None:
    validated: list[Any] = []
    for fold in range(task.folds):
        train, validation = (set(map(tuple, pairs.tolist())) for pairs in task.pairs_of(fold))
        assert (len(train), len(validation)) == (40, 20)
        assert not train & validation
        validated += validation
    assert len(set(validated)) == 60


def test_folds_are_those_of_a_search(task: FoldTask) -> None:
    splits = Splits(name="made up", source="", train=task.train, test=task.train)
    sampling = Sampling(data=DataConfig(cache_dir=Path()), seed=SEED, samples=task.pairs)
    replicas = fold_replicas(splits, sampling, task.hyper(1), rounds=1, folds=task.folds)
    for fold, replica in enumerate(replicas):
        train, validation = task.pairs_of(fold)
        assert train.tolist() == replica.train.tolist()
        assert validation.tolist() == replica.held_out.tolist()


def test_learning_rate_and_alpha_matter(task: FoldTask) -> None:
    validate = CrossValidation(task)
    losses = [validate.curves(lr, alpha)[0].loss_E[-1] for lr, alpha in ((1e-3, 1.0), (1e-2, 1.0), (1e-3, 0.0))]
    assert len(set(losses)) == 3


def test_a_peer_that_fails_is_told_with_its_error(task: FoldTask, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="optuna threads failed: a round of 500 pairs needs 1000 distinct digits"):
        run_search(peers(1)[0], replace(task, pairs=500), 2, workers=1, cache_dir=tmp_path)
    assert not multiprocessing.active_children()


def test_who_gives_up_a_search_leaves_no_process(task: FoldTask, tmp_path: Path) -> None:
    order = make_order(variantlab("variantlab", EQUAL_SPACE), task, tmp_path)
    commands: list[psutil.Process] = []

    def give_up() -> None:
        with Child("variantlab") as child:
            child.send(order)
            child.reply()
            child.send(1000)
            (process,) = multiprocessing.active_children()
            commands.extend(wait_until(psutil.Process(process.pid).children))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert not multiprocessing.active_children()
    _, alive = psutil.wait_procs(commands, timeout=60)
    assert not alive


def test_a_process_that_dies_is_told() -> None:
    with Child("optuna threads") as child:
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(StageError, match="a process of optuna threads died"):
            child.reply()


def test_what_comes_once_is_not_extrapolated() -> None:
    part = result(12.0, 0.3, 0.4, once=2.0)
    assert part.seconds_for(2) == 12.0
    assert part.seconds_for(20) == 102.0


def test_the_first_trial_that_is_good_enough_counts() -> None:
    found = result(30.0, 0.4, 0.2, 0.1)
    assert (found.best, found.seconds_to(0.2), found.seconds_to(0.15)) == (0.1, 20.0, 30.0)
    assert math.isinf(found.seconds_to(0.05))


def test_processes_that_share_a_search_are_one_result() -> None:
    parts = [result(10.0, 0.3, replica_epochs=5), result(12.0, 0.2, 0.4, once=1.0, replica_epochs=10)]
    found = together(parts)
    assert (found.seconds, found.once, found.trials, found.replica_epochs) == (12.0, 1.0, 3, 15)
    assert [trial.after for trial in found.complete] == [6.0, 10.0, 12.0]


def test_ratios_are_paired_with_the_fastest_peer_of_each_round() -> None:
    assert CONTEST.seconds("slow") == [60.0, 20.0]
    assert CONTEST.fastest == [22.0, 20.0]
    assert CONTEST.times_faster([11.0, 20.0]) == Ratio(median=1.5, low=1.0, high=2.0)


def test_the_times_of_a_search_are_shown_with_what_was_measured() -> None:
    table = time_table(CONTEST)
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [row["contestant"] for row in rows] == ["`slow`", "`fast`", "`ours`"]
    assert rows[1] == {
        "contestant": "`fast`",
        "trials measured": "2 of 4",
        "seconds": "12.0",
        "seconds for 4": "22.0",
        "seconds a trial": "5.50",
        "best validation error": "20.00%",
        "fastest peer / it": "0.95 [0.91, 1.00]",
    }


def test_what_was_not_reached_is_said() -> None:
    assert CONTEST.targets == [0.2, 0.1]
    assert CONTEST.reached("ours") == [pytest.approx(22 / 3), math.inf]
    (row,) = reached_table(CONTEST, ["ours"]).rows
    assert row == ["`ours`", "15.00%", "not reached", "21.0", "1.50 [0.00, 3.00]"]


def test_pruning_is_compared_seed_by_seed() -> None:
    savings = Savings(
        results={
            "none": [result(1.0, 0.06, replica_epochs=1000), result(1.0, 0.05, replica_epochs=2000)],
            "median": [result(1.0, 0.05, replica_epochs=500), result(1.0, 0.05, replica_epochs=1500)],
        }
    )
    (table,) = pruning_section(savings).tables
    assert table.rows == [
        ["`none`", "1,500 [1,000, 2,000]", "5.50% [5.00%, 6.00%]", "-", "-"],
        ["`median`", "1,000 [500, 1,500]", "5.00% [5.00%, 5.00%]", "38% [25%, 50%]", "-0.50 [-1.00, +0.00]"],
    ]


class Record:
    """Measures nothing, and notes who was asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.options: list[Sequence[str]] = []

    def __call__(self, contestant: Contestant, trials: int, seed: int) -> Result:
        self.asked.append((contestant.name, trials, seed))
        self.options.append(contestant.options)
        return result(float(trials * len(contestant.name)), *[0.1] * trials)


def make_plan(**changes: Any) -> Plan:
    options: dict[str, Any] = {
        "contestants": ["optuna threads", "ray tune", "variantlab"],
        "chapters": ["contest"],
        "trials": 6,
        "peer_trials": 2,
        "whole": False,
        "repeats": 2,
        "population": 3,
        "overhead_trials": 12,
        "workers": 1,
        "cache_dir": Path(),
    }
    return Plan(**{**options, **changes})


def test_all_take_turns_and_the_fastest_peer_searches_on() -> None:
    wanted, record = make_plan(whole=True), Record()
    contest = hold_contest(wanted.peers, wanted, record)
    first, second = record.asked[:4], record.asked[4:]
    assert [name for name, _, _ in first] == ["optuna threads", "ray tune", "variantlab", "ray tune"]
    assert [trials for _, trials, _ in first] == [2, 2, 6, 6]
    assert [name for name, _, _ in second] == ["ray tune", "variantlab", "optuna threads", "ray tune"]
    assert [result.trials for result in contest.results("ray tune")] == [6, 6]
    assert [result.trials for result in contest.results("optuna threads")] == [2, 2]


def test_every_pruner_searches_with_every_seed() -> None:
    record = Record()
    savings = measure_pruning(record, population=3)
    assert list(savings.results) == list(pruning.PRUNERS)
    assert len(record.asked) == len(pruning.PRUNERS) * len(pruning.SEEDS)
    assert {seed for _, _, seed in record.asked} == set(pruning.SEEDS)
    assert {options[-1] for options in record.options} == set(pruning.PRUNERS)


def test_options_name_all_that_there_is() -> None:
    assert tuple(contestant.name for contestant in [*peers(1), *variantlabs(1)]) == command_line.CONTESTANTS
    assert tuple(harness.CHAPTERS) == command_line.CHAPTERS
    assert pruning.PRUNERS[0] == pruning.NONE


def test_a_missing_library_is_skipped_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    threads, *_, ray = peers(1)
    missing = replace(ray, library="no_such_library")
    assert harness.installed([threads, missing]) == [threads]
    assert capsys.readouterr().err == "ray tune is not installed; it is skipped (pip install '.[bench]')\n"
    with pytest.raises(InputError, match="must name an installed peer"):
        harness.installed([missing])


def test_a_page_is_not_that_of_the_other_benchmark() -> None:
    machine = Hardware(cpu="arm", cores=2, memory_gib=8, caches={})
    page = harness.SearchPage(day=date(2026, 1, 2), hardware=machine, versions={}, sections=[])
    assert page.default_path.name == "2026-01-02-search-arm-2-cores.md"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contestants", "ray tun"], "unknown name 'ray tun'; did you mean ray tune?"),
        (["--chapters", "contests"], "unknown name 'contests'; did you mean contest?"),
        (["--trials", "6"], "no more trials than all of it, but got --peer-trials 10 and --trials 6"),
        (["--workers", "1", "--trials", "0"], "0 is not in the range 1<=x<=10000"),
    ],
)
def test_bad_input_costs_nothing(arguments: list[str], message: str) -> None:
    outcome = CliRunner().invoke(command_line.main, arguments)
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.output.replace("│", " ").split())


def test_workers_are_busy_to_the_end_and_have_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "this_machine", lambda: Hardware(cpu="arm", cores=3, memory_gib=8, caches={}))
    with pytest.raises(InputError, match="--peer-trials 4 is no multiple of --workers 3"):
        make_plan(peer_trials=4, workers=3)
    with pytest.raises(InputError, match="there are 3 cores for --workers 4"):
        make_plan(workers=4)

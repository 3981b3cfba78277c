from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.data.dataset import Dataset
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from pipeline.training.machine import this_machine
from pipeline.training.plan import Job, Outcome, StopRule, compose_chunks
from pipeline.training.pool import Trainer
from tests.families import workers_of
from tests.training.plain import scale_of
from tests.training.plans import make_hyper, make_hypers, make_replica
from tests.waiting import wait_until

HYPER = make_hyper("mlp")
ROOT = Path(__file__).parents[2]


class StopAfterTwo:
    """A rule for the workers."""

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        return len(held_out_FE[0]) == 2


class Raise:
    """A rule that breaks."""

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        raise ZeroDivisionError("the rule broke")


class Die:
    """A rule that takes its process with it."""

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        os._exit(3)


class Kill:
    """A rule that has its process killed, as the system does when memory is short."""

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False


def make_jobs() -> list[Job]:
    return [
        Job(
            variant=get_variant("convnet_al"),
            replicas=tuple(make_replica(index, hyper) for index, hyper in enumerate(make_hypers("convnet_al", 7))),
            keep_models=True,
        ),
        Job(
            variant=get_variant("mlp_ws"),
            replicas=tuple(
                make_replica(index, hyper, samples=50 + index % 2)
                for index, hyper in enumerate(make_hypers("mlp_ws", 5, 7, optimiser="sgd", momentum=0.9))
            ),
        ),
        Job(
            variant=get_variant("mlp_al"),
            replicas=tuple(
                make_replica(index, replace(hyper, optimiser=("rmsprop", "adam")[index % 2]), patience=index)
                for index, hyper in enumerate(make_hypers("mlp_al", 4, schedule="cosine", augmentation="crop_flip"))
            ),
        ),
        Job(
            variant=get_variant("mlp"),
            replicas=tuple(make_replica(index, HYPER) for index in range(3)),
            stop=StopAfterTwo(),
        ),
        Job(
            variant=get_variant("linear_digits"),
            replicas=tuple(
                make_replica(
                    index, make_hyper("linear_digits", nodes=8 * (1 + index % 2), batch_norm=True, dropout=0.2)
                )
                for index in range(4)
            ),
            keep_models=True,
        ),
    ]


@pytest.fixture(scope="module")
def two_workers(train_digits: Dataset, held_out_digits: Dataset) -> Iterator[Trainer]:
    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=2)) as trainer:
        yield trainer


@pytest.fixture(scope="module")
def outcomes(two_workers: Trainer) -> list[list[Outcome]]:
    return two_workers.run(make_jobs())


def test_the_jobs_of_these_tests_are_worth_distributing() -> None:
    assert len(compose_chunks(make_jobs())) >= 7


@pytest.mark.parametrize("workers", [1, 3])
def test_results_do_not_depend_on_the_number_of_workers(
    train_digits: Dataset, held_out_digits: Dataset, outcomes: list[list[Outcome]], workers: int
) -> None:
    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=workers)) as trainer:
        assert_identical(trainer.run(make_jobs()), outcomes)


def test_results_in_chunks_of_a_given_size_do_not_depend_on_the_number_of_workers(
    train_digits: Dataset, held_out_digits: Dataset
) -> None:
    given, compositions = [], []
    for workers in (1, 2):
        with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=workers, chunk=3)) as trainer:
            given.append(trainer.run(make_jobs()))
            compositions.append(trainer.composition())
    assert_identical(*given)
    assert compositions[0] == compositions[1]
    sizes = [len(chunk["replicas"]) for chunk in compositions[0]["chunks"]]
    assert max(sizes) == 3
    assert sum(sizes) == sum(len(job.replicas) for job in make_jobs())


def test_the_composition_names_every_replica_of_all_runs_with_how_it_trained(
    train_digits: Dataset, held_out_digits: Dataset
) -> None:
    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=1, precision="bfloat16")) as trainer:
        assert trainer.composition()["chunks"] == []
        for job in make_jobs()[2:]:
            trainer.run([job])
        composition = trainer.composition()
    assert composition.items() >= {"precision": "bfloat16", "compile": "off", **this_machine()}.items()
    named = [name for chunk in composition["chunks"] for name in chunk["replicas"]]
    expected = ["/".join(map(str, replica.name)) for job in make_jobs()[2:] for replica in job.replicas]
    assert sorted(named) == sorted(expected)
    assert {chunk["model"] for chunk in composition["chunks"]} == {"mlp_al", "mlp", "linear_digits"}


def test_results_are_the_same_again(two_workers: Trainer, outcomes: list[list[Outcome]]) -> None:
    assert_identical(two_workers.run(make_jobs()), outcomes)


def test_a_job_gives_the_same_alone_and_among_others(two_workers: Trainer, outcomes: list[list[Outcome]]) -> None:
    assert_identical(two_workers.run(make_jobs()[1:2]), outcomes[1:2])


def assert_identical(some: list[list[Outcome]], others: list[list[Outcome]]) -> None:
    """To the last bit, but for what the clock gives."""
    assert [len(job) for job in some] == [len(job) for job in others]
    for one, other in zip(chain.from_iterable(some), chain.from_iterable(others), strict=True):
        for name in ("status", "reason", "curves", "train_at"):
            assert getattr(one, name) == getattr(other, name)
        assert scale_of(one) == scale_of(other)
        assert (one.weights is None) == (other.weights is None) == (not one.predictions)
        if one.weights is not None and other.weights is not None:
            assert list(one.weights) == list(other.weights)
            for name, weight in one.weights.items():
                np.testing.assert_array_equal(weight, other.weights[name])
            assert one.predictions.keys() == other.predictions.keys()
            for name, part in one.predictions.items():
                np.testing.assert_array_equal(part, other.predictions[name])


def test_outcomes_are_in_the_order_of_jobs_and_replicas(train_digits: Dataset, outcomes: list[list[Outcome]]) -> None:
    for job, job_outcomes in zip(make_jobs(), outcomes, strict=True):
        for replica, outcome in zip(job.replicas, job_outcomes, strict=True):
            grey = train_digits.gather(replica.train)["x"].astype(np.float64)
            assert scale_of(outcome) == pytest.approx((grey.mean(), grey.std(ddof=1)), rel=1e-5)
            if not replica.patience:
                assert outcome.epochs == (2 if job.stop else replica.hyper.epochs)
            assert outcome.status == ("complete" if outcome.epochs == replica.hyper.epochs else "stopped")
            assert (outcome.weights is not None) == job.keep_models


def test_progress_rises_to_the_plan(two_workers: Trainer) -> None:
    seen: list[tuple[int, int]] = []
    two_workers.run(make_jobs(), lambda done, planned: seen.append((done, planned)))
    planned = sum(replica.hyper.epochs for job in make_jobs() for replica in job.replicas)
    assert seen[-1] == (planned, planned)
    assert seen == sorted(seen)


def test_no_jobs_give_no_outcomes(two_workers: Trainer) -> None:
    assert two_workers.run([]) == []


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Raise(), "ZeroDivisionError: the rule broke"),
        (Die(), "its worker process died (it exited with status 3)"),
        (Kill(), "its worker process died (killed, as the system does when memory is short: try fewer --workers)"),
    ],
    ids=["raise", "die", "kill"],
)
def test_what_breaks_in_a_worker_breaks_no_other_training(
    train_digits: Dataset,
    held_out_digits: Dataset,
    outcomes: list[list[Outcome]],
    rule: StopRule,
    reason: str,
) -> None:
    breaks = Job(variant=get_variant("mlp_ws"), replicas=(make_replica(0, HYPER), make_replica(1, HYPER)), stop=rule)
    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=2)) as trainer:
        [broken, *others] = trainer.run([breaks, *make_jobs()[3:]])
    assert {(outcome.status, outcome.reason) for outcome in broken} == {("broken", reason)}
    assert_identical(others, outcomes[3:])
    assert not [child for child in psutil.Process().children() if child in trainer._workers]


def test_a_worker_that_is_killed_once_costs_nothing_but_time(
    train_digits: Dataset, held_out_digits: Dataset, outcomes: list[list[Outcome]]
) -> None:
    def kill() -> None:
        trainer._workers[0].kill()

    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=2)) as trainer:
        assert_identical(trainer.run(make_jobs()[3:], meanwhile=kill), outcomes[3:])
        kill()
        assert_identical(trainer.run(make_jobs()[3:]), outcomes[3:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_stops_a_worker_stops_its_stage(
    train_digits: Dataset, held_out_digits: Dataset, number: signal.Signals
) -> None:
    def arrive(number: int, _frame: object) -> None:
        raise InterruptedError(number)

    def stop() -> None:
        psutil.Process(trainer._workers[0].pid).send_signal(number)

    before = signal.signal(number, arrive)
    try:
        with (
            pytest.raises(InterruptedError, match=str(int(number))),
            Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=2)) as trainer,
        ):
            trainer.run(make_jobs(), meanwhile=stop)
    finally:
        signal.signal(number, before)


def test_no_worker_outlives_a_killed_parent() -> None:
    program = [sys.executable, "-m", "tests.training.endless"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline().startswith("training ")
            children = psutil.Process(parent.pid).children(recursive=True)
            assert len(workers_of(parent.pid)) == 2
        finally:
            parent.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_an_interruption_does_not_wait_for_what_workers_are_forked_from() -> None:
    program = [sys.executable, "-m", "tests.training.endless"]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True) as parent:

        def server() -> psutil.Process | None:
            children = psutil.Process(parent.pid).children()
            return next((child for child in children if "forkserver" in " ".join(child.cmdline())), None)

        stopped = None
        try:
            stopped = wait_until(server, parent)
            assert stopped is not None
            stopped.suspend()  # it will never have imported what it needs
            parent.send_signal(signal.SIGINT)
            parent.wait(timeout=60)
        finally:
            parent.kill()
            if stopped is not None:
                stopped.kill()
        said = parent.communicate()[1]
    assert parent.returncode == -signal.SIGINT
    assert said.endswith("KeyboardInterrupt\n")


def test_workers_start_each_by_itself_where_the_socket_of_a_server_would_have_too_long_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_digits: Dataset, held_out_digits: Dataset
) -> None:
    folder = tmp_path / ("x" * 108)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=1)) as trainer:
        trainer.warm_up()
        [[outcome]] = trainer.run([Job(variant=get_variant("mlp"), replicas=(make_replica(0, HYPER),))])
    assert outcome.status == "complete"
    assert trainer._context.get_start_method() == "spawn"


UNGUARDED = """
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from pipeline.training.plan import Job
from pipeline.training.pool import Trainer
from tests.training.plans import DIGITS, make_hyper, make_replica

print("this program is read")
replicas = tuple(make_replica(index, make_hyper("mlp")) for index in range(4))
with Trainer(*DIGITS, Compute(device="cpu", workers=2)) as trainer:
    [outcomes] = trainer.run([Job(variant=get_variant("mlp"), replicas=replicas)])
print([outcome.status for outcome in outcomes])
"""


@pytest.mark.parametrize("name", ["short", "x" * 108], ids=["forkserver", "spawn"])
def test_a_program_that_trains_as_soon_as_it_is_imported_trains_once(tmp_path: Path, name: str) -> None:
    script, folder = tmp_path / "script.py", tmp_path / name
    folder.mkdir()
    script.write_text(UNGUARDED)
    temporary = {"TMPDIR": str(folder)} if len(name) > len("short") else {}  # a server has its socket there
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **temporary}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.stdout.splitlines() == ["this program is read", str(["complete"] * 4)]
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_more_workers_start_than_there_are_chunks(train_digits: Dataset, held_out_digits: Dataset) -> None:
    job = Job(variant=get_variant("mlp"), replicas=(make_replica(0, HYPER), make_replica(1, HYPER)))
    with Trainer(train_digits, held_out_digits, Compute(device="cpu", workers=8)) as trainer:
        trainer.warm_up()
        assert trainer._workers == []
        trainer.run([job])
        assert len(trainer._workers) == len(trainer.trained) < 8

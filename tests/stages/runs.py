"""What stages left in a tracker in memory, and searches that are cut off."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sqlalchemy import event

from pipeline.data.dataset import Splits
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.stages import evaluate, search
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.replicas import round_replicas
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import StageResult
from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tracking.port import ModelToLog
from pipeline.tuning import lease
from pipeline.tuning.storage import open_storage
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.silent import Silent

Make = Callable[..., SearchConfig]


def run_of(tracker: MemoryTracker, result: StageResult) -> MemoryRun:
    """The run of a stage."""
    return next(run for run in tracker.runs if run.id == result.run_id)


def runs_with(tracker: MemoryTracker, role: str) -> list[MemoryRun]:
    """All runs of a role, in the order in which they were opened."""
    return [run for run in tracker.runs if run.tags["role"] == role]


def trials_of(tracker: MemoryTracker) -> list[MemoryRun]:
    """The runs of a search's trials by number."""
    return sorted(runs_with(tracker, "trial"), key=lambda run: int(run.tags["trial"]))


def table_of(tracker: MemoryTracker) -> list[tuple[str, str, str | None, dict[tuple[str, int], float]]]:
    """All that a search says of its trials."""
    return [(run.tags["config"], run.status, run.tags.get("source"), run.metrics) for run in trials_of(tracker)]


def searched(config: SearchConfig, tracker: MemoryTracker | None = None) -> tuple[MemoryTracker, MemoryRun]:
    """Run a search: the tracker and the search's own run."""
    tracker = tracker or MemoryTracker()
    return tracker, run_of(tracker, search.run(config, tracker, Silent()))


def config_of(run: MemoryRun) -> Hyperparameters:
    """The one configuration that a run stands for."""
    return Hyperparameters.of(json.loads(run.tags["config"]))


def rows_of(run: MemoryRun, name: str = "trials.csv") -> list[dict[str, str]]:
    """The table of all trials, or another one that was kept."""
    return [*csv.DictReader(io.StringIO(run.texts[name]))]


def trained_in(run: MemoryRun) -> Sequence[str]:
    """The names of all replicas that a stage trained, as its chunks.json has them."""
    composition = json.loads(run.texts["chunks.json"])
    assert composition["trained_on"] == run.params["trained_on"]
    assert composition["precision"] == run.params["precision"]
    assert all(chunk["model"] == run.params["model"] for chunk in composition["chunks"])
    return sorted(name for chunk in composition["chunks"] for name in chunk["replicas"])


def without_finite_digits(splits: Splits) -> Splits:
    """Training digits of which every training diverges."""
    assert isinstance(splits.train, DigitSet)
    return replace(splits, train=replace(splits.train, images_NHW=np.full_like(splits.train.images_NHW, np.inf)))


class Death(BaseException):
    """The process ends here."""


def search_with_deaths(config: SearchConfig, after: Sequence[int]) -> MemoryTracker:
    """What a search leaves at its end that died before, each time after so many transactions of its study.

    Each start tracks to a store of its own, so that what is left comes from the study alone.
    """
    storage = open_storage(config.storage)
    left = itertools.count()

    def begin(_connection: object) -> None:
        if next(left) <= 0:
            raise Death

    event.listen(storage.engine, "begin", begin)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "open_storage", lambda _: storage)
        # The process whose lease it was is this one, which lives: it is given up for its beats.
        patch.setattr(lease, "LOOK_SECONDS", 0.01)
        patch.setattr(lease, "BEAT_SECONDS", 3600.0)  # a beat is a transaction too, and comes at any time
        for transactions in after:
            left = itertools.count(transactions, -1)
            with pytest.raises(Death):
                search.run(config, MemoryTracker(), Silent())
        left = itertools.count(100_000, -1)
        search.run(config, MemoryTracker(), Silent())
        resumed = MemoryTracker()
        left = itertools.count(100_000, -1)
        search.run(config, resumed, Silent())
    return resumed


def wrong_by_model(logged: ModelToLog, config: EvaluateConfig, round_: int) -> NDArray[np.bool_]:
    """Which test samples of a round a logged model answers wrongly, read from its probabilities as a user would."""
    outputs, target_N = _given_by_model(logged, config, round_)
    wrong: NDArray[np.bool_] = answers_from(evaluate.inputs(config).variant.task, outputs) != target_N
    return wrong


def error_by_model(logged: ModelToLog, config: EvaluateConfig, round_: int) -> float:
    """The first test metric of a round, from what a logged model gives."""
    if evaluate.inputs(config).variant.task != "regression":
        return float(wrong_by_model(logged, config, round_).mean())
    outputs, target_N = _given_by_model(logged, config, round_)
    return float(np.sqrt(np.square(outputs[:, 0] - target_N.astype(np.float64)).mean()))


def _given_by_model(
    logged: ModelToLog, config: EvaluateConfig, round_: int
) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """What a model gives for the test samples of a round, and what is right."""
    subject = evaluate.inputs(config)
    variant, splits = subject.variant, subject.splits
    replicas = round_replicas(splits, config.sampling, variant.preset, rounds=round_ + 1)
    samples = splits.test.gather(replicas[round_].held_out)
    return logged.network(torch.from_numpy(samples["x"])).detach().numpy(), samples["target"]


def answers_from(task: str, outputs: NDArray[np.float32]) -> NDArray[np.generic]:
    """Whether each sample is of class 1, or of which of several."""
    answers: NDArray[np.generic]
    if task == "classification":
        answers = outputs.argmax(-1)
    elif task == "digits":
        read = outputs.argmax(-1)
        answers = read[:, 0] <= read[:, 1]
    elif task == "pairs":
        answers = outputs[:, 1] > outputs[:, 0]
    else:
        answers = outputs[:, 0] > 0
    return answers

"""Evaluations read back from the tracker, and what keeps them from being compared."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.stored import SAMPLES, TEST_SAMPLES
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.own.recorded import from_text
from pipeline.models.variant import Variant
from pipeline.reports.crossed import summarise_crossed
from pipeline.reports.statistics import Summary
from pipeline.stages.comparing.shared_samples import FILE as LOSSES_FILE
from pipeline.stages.comparing.shared_samples import from_csv, reading_of
from pipeline.stages.stage import ROUNDS_OTHERWISE
from pipeline.tasks.registry import variants
from pipeline.tasks.subjects import by_metric
from pipeline.tracking.port import RunRecord, Tracker
from pipeline.training.machine import arithmetic

ROUNDS = ("rounds", SAMPLES, TEST_SAMPLES, "seed", "resampling")
"""Params that decide which samples the rounds have, beside the data."""
UNSAID = {"resampling": "none"}
NAMED = 4
"""Variants of a group that are named in a message."""


def by_epoch_file(metric: str, first: str) -> str:
    """The file in which an evaluation keeps a test metric for every round after every epoch; `first` is the first one.

    >>> by_epoch_file("error", "error"), by_epoch_file("top_two_error", "error")
    ('rounds_by_epoch.csv', 'top_two_rounds_by_epoch.csv')
    """
    return f"{'' if metric == first else metric.removesuffix('_error') + '_'}rounds_by_epoch.csv"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One finished run of evaluate. R round, E epoch."""

    run: RunRecord
    tracker: Tracker

    @cached_property
    def variant(self) -> Variant:
        """What was evaluated, ranked by what it was ranked by then."""
        tags = self.run.tags
        if "variant" in tags:
            return from_text(tags["variant"])
        return by_metric(variants()[tags["model"]], tags.get("metric", ""))

    @property
    def model(self) -> str:
        """Its name."""
        return self.variant.name

    @property
    def hyper(self) -> Hyperparameters:
        """In which configuration."""
        assert self.run.config is not None
        return self.run.config

    @property
    def parameters(self) -> int:
        """Numbers that are learnt."""
        counted = self.run.metrics.get("parameters")  # which early versions did not log
        return self.variant.count(self.hyper.structure) if counted is None else int(counted)

    @cached_property
    def test_R(self) -> list[float]:
        """The first metric on test samples after the last epoch, round by round."""
        return self.rounds(f"test_{self.variant.metric.name}")

    @cached_property
    def losses_RN(self) -> NDArray[np.float64] | None:
        """What every test sample adds to it; None where rounds have test samples of their own."""
        text = self.tracker.read_text(self.run.id, LOSSES_FILE)
        return None if text is None else from_csv(text)

    @cached_property
    def test(self) -> Summary:
        """The same over rounds, and the test samples that they share."""
        metric = self.variant.metric
        return summarise_crossed(self.test_R, self.losses_RN, metric.unit, within=metric.bounds)

    @property
    def reading(self) -> str:
        """What its intervals cover."""
        return reading_of({**self.run.params, **self.run.tags}, len(self.test_R), losses=self.losses_RN is not None)

    @property
    def round_seconds(self) -> float:
        """What one training took, in seconds."""
        return self.run.metrics["seconds_per_epoch"] * self.hyper.epochs

    @property
    def search(self) -> str:
        """What was spent on finding the configuration; `none` for the report's and for one that was typed."""
        params = self.run.params
        return (
            f"{params['search_trials']} trials of {params['search_sampler']}" if "search_trials" in params else "none"
        )

    @property
    def search_cost(self) -> str:
        """The same with what it took."""
        params = self.run.params
        if "search_trials" not in params:
            return "-"
        return (
            f"{self.search}, {params['search_replica_epochs']} replica-epochs, {float(params['search_seconds']):.0f} s"
        )

    def rounds(self, name: str) -> list[float]:
        """A metric, such as `train_error`, of every round after the last epoch; empty where it is not measured."""
        return self.tracker.history(self.run.id, f"round/{name}")

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """A metric by epoch: its mean over rounds and its standard deviation, which is empty of one round."""
        return self.tracker.history(self.run.id, metric), self.tracker.history(self.run.id, f"{metric}_std")

    def by_epoch_ER(self, metric: str) -> NDArray[np.float64] | None:
        """A test metric of every round after every epoch; None where it was not kept."""
        text = self.tracker.read_text(self.run.id, by_epoch_file(metric, self.variant.metric.name))
        if text is None:
            return None
        return np.array([row[1:] for row in list(csv.reader(text.splitlines()))[1:]], dtype=np.float64)

    def breakdown(self, name: str) -> str | None:
        """The table by which its task breaks errors down, as CSV; None where it was not kept."""
        return self.tracker.read_text(self.run.id, f"{name}.csv")


def newest_evaluations(tracker: Tracker, experiment: str, models: str) -> list[Evaluation]:
    """The newest finished evaluation of each variant, in the order of the registry, people's own models last.

    `models` is `all` that were evaluated, or names separated by commas. Raises InputError where one has none.
    """
    newest: dict[str, RunRecord] = {}
    for record in tracker.find("evaluate", experiment=experiment):
        if record.status == "FINISHED" and (record.tags.get("model") in variants() or "variant" in record.tags):
            newest.setdefault(record.tags["model"], record)
    wanted = list(newest) if models == "all" else [name.strip() for name in models.split(",")]
    known = dict.fromkeys([*variants(), *newest])
    for name in wanted:
        if name not in known:
            raise UnknownNameError("model", name, known)
        if name not in newest:
            raise InputError(f"compare reads evaluate runs, but {name} has no finished one here; run evaluate first")
    if not wanted:
        raise InputError("compare reads evaluate runs, but this experiment has no finished one; run evaluate first")
    return [Evaluation(run=newest[name], tracker=tracker) for name in known if name in wanted]


def losses_by_model(evaluations: Sequence[Evaluation]) -> dict[str, NDArray[np.float64]] | None:
    """What test samples add to errors, where all evaluations know it; None where verdicts rest on rounds alone."""
    found = {entry.model: entry.losses_RN for entry in evaluations}
    known = {model: losses_RN for model, losses_RN in found.items() if losses_RN is not None}
    return known if len(known) == len(found) else None


def ranked_otherwise(evaluations: Sequence[Evaluation]) -> str:
    """Whether they have different first metrics, which cannot be compared; empty if not."""
    names = [entry.variant.metric.name for entry in evaluations]
    return f"metrics differ ({_groups(evaluations, names)})" if len(set(names)) > 1 else ""


def measured_otherwise(evaluations: Sequence[Evaluation]) -> list[str]:
    """What keeps them from being paired: other data, rounds, samples or seeds; one text for each."""
    marks = {"data (digest)": [entry.run.tags.get("dataset_digest", "?")[:8] for entry in evaluations]}
    marks |= {name: [entry.run.params.get(name, UNSAID.get(name, "?")) for entry in evaluations] for name in ROUNDS}
    return [f"{what} differ ({_groups(evaluations, of)})" for what, of in marks.items() if len(set(of)) > 1]


def searched_otherwise(evaluations: Sequence[Evaluation]) -> list[str]:
    """Whether some had more search than others: then a part of their lead may be that."""
    spent = [entry.search for entry in evaluations]
    return [f"search budgets differ ({_groups(evaluations, spent)})"] if len(set(spent)) > 1 else []


def computed_otherwise(evaluations: Sequence[Evaluation]) -> list[str]:
    """Whether some were computed with other instructions or another torch than others, as far as they say."""
    known = [entry for entry in evaluations if arithmetic(entry.run.tags)]
    ways = [arithmetic(entry.run.tags) for entry in known]
    return [f"Not all were computed alike ({_groups(known, ways)}); {ROUNDS_OTHERWISE}."] if len(set(ways)) > 1 else []


def _groups(evaluations: Sequence[Evaluation], marks: Sequence[str]) -> str:
    groups: Mapping[str, list[str]] = defaultdict(list)
    for entry, mark in zip(evaluations, marks, strict=True):
        groups[mark].append(entry.model)
    return "; ".join(f"{mark}: {_some(models)}" for mark, models in groups.items())


def _some(models: Sequence[str]) -> str:
    """Their names, of many the first ones."""
    if len(models) <= NAMED:
        return ", ".join(models)
    return f"{', '.join(models[:NAMED])} and {len(models) - NAMED} more"

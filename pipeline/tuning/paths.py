"""No wasted work: which trials need training, and what the others are read off.

Of trials that differ in epochs alone the longest goes through all, and equal ones are the same training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tuning.trials import PlannedTrial, TrialRecord, TrialResult, searched

Path = tuple[Hyperparameters, int, int]
"""`Hyperparameters.path`, the number of training samples, and the draw."""


@dataclass(frozen=True)
class Known:
    """A finished training and what to call it."""

    label: str
    record: TrialRecord


def path_of(trial: PlannedTrial | TrialRecord) -> Path:
    """Equal for trials that differ in epochs alone."""
    return trial.hyper.path, trial.samples, trial.draw


class Paths:
    """The trainings of a study by path, and those that are known from others."""

    def __init__(self, elsewhere: Iterable[Known] = ()) -> None:
        self._seen: set[int] = set()
        self._trained: dict[Path, list[Known]] = defaultdict(list)
        self._elsewhere: dict[Path, list[Known]] = defaultdict(list)
        for known in elsewhere:
            self._elsewhere[path_of(known.record)].append(known)

    def learn(self, records: Iterable[TrialRecord]) -> None:
        """Take note of finished trials, those of earlier calls or new ones."""
        for record in records:
            if record.number not in self._seen and not record.source and record.curves:
                self._trained[path_of(record)].append(Known(f"trial {record.number}", record))
            self._seen.add(record.number)

    def divide(self, trials: Sequence[PlannedTrial]) -> tuple[list[PlannedTrial], dict[int, Known | PlannedTrial]]:
        """Which trials of a batch to train, and for each other one, by number, what to read it off.

        That is a known training which went far enough, or the longest of the batch, however far that goes.
        """
        longest: dict[Path, PlannedTrial] = {}
        for trial in sorted(trials, key=lambda trial: -trial.hyper.epochs):
            longest.setdefault(path_of(trial), trial)
        sources: dict[int, Known | PlannedTrial] = {}
        for trial in trials:
            path, epochs = path_of(trial), trial.hyper.epochs
            known = (one for one in (*self._trained[path], *self._elsewhere[path]) if reaches(one.record, epochs))
            source = next(known, None) or longest[path]
            if source is not trial:
                sources[trial.number] = source
        return [trial for trial in trials if trial.number not in sources], sources


def reaches(found: TrialResult | TrialRecord, epochs: int) -> bool:
    """Whether all folds were sound after so many epochs; of a failed trial the last epoch was not."""
    return len(searched(found.curves, found.metric)) - (found.state == "failed") >= epochs


def read_off(found: TrialResult | TrialRecord, label: str, epochs: int) -> TrialResult:
    """What the training of this name found after `epochs`; all of it if it ended before."""
    source = f"read off {label}"
    if not reaches(found, epochs):
        return TrialResult(
            curves=found.curves,
            fold_errors=found.fold_errors,
            metric=found.metric,
            state=found.state,
            reason=found.reason,
            source=source,
        )
    return TrialResult(
        curves={name: values[:epochs] for name, values in found.curves.items()},
        fold_errors=[errors[:epochs] for errors in found.fold_errors],
        metric=found.metric,
        state="complete",
        source=source,
    )


def pooled(found: TrialResult, before: TrialResult | TrialRecord, label: str) -> TrialResult:
    """What the draws before and a new one say together; the new one alone unless both are complete."""
    if found.state != "complete" or before.state != "complete":
        return found
    weights = [len(before.fold_errors), len(found.fold_errors)]
    return replace(
        found,
        curves={
            name: np.average([before.curves[name], values], axis=0, weights=weights).tolist()
            for name, values in found.curves.items()
        },
        fold_errors=[*before.fold_errors, *found.fold_errors],
        source=f"adds to {label}",
    )

"""Short trainings read off longer ones: of trials that differ in epochs alone, the longest goes through all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tuning.trials import Asked, Finding, TrialRecord

Path = tuple[Hyperparameters, int]
"""`Hyperparameters.path`, and the number of training samples."""


def path_of(trial: Asked | TrialRecord) -> Path:
    """Equal for trials that differ in epochs alone."""
    return trial.hyper.path, trial.pairs


class Paths:
    """The trainings of a study by path."""

    def __init__(self) -> None:
        self._seen = 0
        self._trained: dict[Path, list[TrialRecord]] = defaultdict(list)

    def learn(self, records: Sequence[TrialRecord]) -> None:
        """Take note of finished trials; `records` are those of the last call and newer ones."""
        for record in records[self._seen :]:
            if record.read_off is None and record.curves:
                self._trained[path_of(record)].append(record)
        self._seen = len(records)

    def divide(self, asked: Sequence[Asked]) -> tuple[list[Asked], dict[int, TrialRecord | Asked]]:
        """Which trials to train, and for each other one, by number, the trial to read it off.

        That is an earlier one which went far enough, or the longest of its own generation, however far that went: so
        the answer is the same for a generation of which some are finished already.
        """
        longest: dict[Path, TrialRecord | Asked] = {}
        for trial in sorted(asked, key=lambda trial: -trial.hyper.epochs):
            longest.setdefault(path_of(trial), trial)
        sources: dict[int, TrialRecord | Asked] = {}
        for trial in asked:
            trained = self._trained[path_of(trial)]
            siblings = (record for record in trained if record.number >= trial.generation)
            earlier = (
                record for record in trained if record.number < trial.generation and reaches(record, trial.hyper.epochs)
            )
            source = next(earlier, None) or next(siblings, longest[path_of(trial)])
            if source is not trial:
                sources[trial.number] = source
        return [trial for trial in asked if trial.number not in sources], sources


def reaches(found: Finding | TrialRecord, epochs: int) -> bool:
    """Whether all folds were sound after so many epochs; of a failed trial the last epoch was not."""
    return len(found.curves["validation_error"]) - (found.state == "failed") >= epochs


def read_off(found: Finding | TrialRecord, number: int, epochs: int) -> Finding:
    """What trial `number` found, after `epochs`; all of it if it ended before."""
    if not reaches(found, epochs):
        return Finding(
            curves=found.curves,
            fold_errors=found.fold_errors,
            state=found.state,
            reason=found.reason,
            read_off=number,
        )
    return Finding(
        curves={name: values[:epochs] for name, values in found.curves.items()},
        fold_errors=[errors[:epochs] for errors in found.fold_errors],
        state="complete",
        read_off=number,
    )

"""How a search chooses what to try: by one of Optuna's samplers, or all combinations in one of three ways.

A trial sampler proposes *steps*: lists of trials of which a step is known once the ones before it are finished. What it
proposes depends on finished trials alone, so a search that was killed goes on with the same proposals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.models.hyperparameters import Value
from pipeline.tuning.samplers import SAMPLERS
from pipeline.tuning.space import Space
from pipeline.tuning.trials import TrialRecord, best_of, ranking

COMPLETE = ("grid", "two-step", "screen")
"""The samplers that try all combinations."""
TRIAL_SAMPLERS = (*SAMPLERS, *COMPLETE)
ALPHA = "alpha"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One trial that is to be made."""

    parameters: Mapping[str, Value] | None
    """What is searched, by name; None: the sampler chooses."""
    enqueued: Mapping[str, Value] | None = None
    """What the sampler has to leave as somebody has asked for."""
    samples: int = 0
    """Training samples of a round; 0 for as many as the search has."""


class TrialSampler(ABC):
    """Which trials a search consists of."""

    complete: ClassVar[bool] = True
    """Whether all combinations of a space are tried, so that it must have finitely many."""

    @abstractmethod
    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """The steps that are known, given all finished trials by number; trials are numbered through all steps."""

    def total(self, space: Space, records: Sequence[TrialRecord]) -> int:
        """How many trials there will be, as far as the steps are known."""
        return sum(map(len, self.steps(space, records)))


@dataclass(frozen=True)
class Sampled(TrialSampler):
    """The preset first, then what one of Optuna's samplers proposes, `n_trials` in all."""

    n_trials: int
    complete = False

    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """One."""
        first = Proposal(parameters=space.preset_parameters)
        return [[first, *[Proposal(parameters=None)] * (self.n_trials - 1)]]


@dataclass(frozen=True)
class Grid(TrialSampler):
    """All combinations, and those that failed once more, with other initial weights."""

    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """One; two once the first is finished, if any failed."""
        first = [Proposal(parameters=combination) for combination in space.grid(space.dimensions)]
        if len(records) < len(first):
            return [first]
        return [first, [proposal for proposal, record in zip(first, records, strict=False) if record.state == "failed"]]


@dataclass(frozen=True)
class TwoStep(TrialSampler):
    """Report 003: all combinations of everything but alpha, which has its preset's value; then alpha by itself."""

    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """One; two once the first is finished, if alpha is searched."""
        alpha = {ALPHA: space.preset.alpha} if ALPHA in space.dimensions else {}
        combinations = self._combinations(space)
        first = [Proposal(parameters={**combination, **alpha}) for combination in combinations]
        best = best_of(records[: len(first)])
        if len(records) < len(first) or best is None:
            return [first]
        chosen = {name: best.hyper.as_dict()[name] for name in combinations[0]}
        return [first, [Proposal(parameters={**chosen, ALPHA: value}) for value in self._others(space)]]

    def total(self, space: Space, records: Sequence[TrialRecord]) -> int:
        """Combinations, and the other values of alpha."""
        first = len(self._combinations(space))
        failed = len(records) >= first and best_of(records[:first]) is None
        return first if failed else first + len(self._others(space))

    def _combinations(self, space: Space) -> list[dict[str, Value]]:
        return space.grid(name for name in space.dimensions if name != ALPHA)

    def _others(self, space: Space) -> list[Value]:
        if ALPHA not in space.dimensions:
            return []
        return [value for value in space.dimensions[ALPHA].grid if value != space.preset.alpha]


@dataclass(frozen=True)
class Screen(TrialSampler):
    """Report 001: all combinations on few samples, then the best of them again on all."""

    samples: int
    """Training samples of a round in the first step."""
    keep: int
    """How many are tried again."""

    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """One; two once the first is finished."""
        combinations = space.grid(space.dimensions)
        first = [Proposal(parameters=combination, samples=self.samples) for combination in combinations]
        if len(records) < len(first):
            return [first]
        ranked = ranking(records[: len(first)])
        return [first, [Proposal(parameters=space.parameters(record.hyper)) for record in ranked[: self.keep]]]

    def total(self, space: Space, records: Sequence[TrialRecord]) -> int:
        """Combinations, and the best of them again."""
        first = len(space.grid(space.dimensions))
        known = super().total(space, records)
        return known if len(records) >= first else first + min(self.keep, first)


def make_trial_sampler(name: str, *, n_trials: int, screen_samples: int, keep: int) -> TrialSampler:
    """The sampler of this name, which is one of `TRIAL_SAMPLERS`."""
    by_name: dict[str, TrialSampler] = {"grid": Grid(), "two-step": TwoStep(), "screen": Screen(screen_samples, keep)}
    return by_name.get(name) or Sampled(n_trials)

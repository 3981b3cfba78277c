"""How a search chooses what to try: by Optuna's sampler, or all combinations in two ways that the reports describe.

A strategy proposes *steps*: lists of trials of which a step is known once the ones before it are finished. What it
proposes depends on finished trials alone, so a search that was killed goes on with the same proposals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.models.hyperparameters import Hyperparameters, Value
from pipeline.tuning.space import Space
from pipeline.tuning.trials import TrialRecord, best_of

STRATEGIES = ("tpe", "two-step", "screen")
ALPHA = "alpha"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One trial that is to be made."""

    parameters: Mapping[str, Value] | None
    """What is searched, by name; None: the sampler chooses."""
    pairs: int = 0
    """Training samples of a round; 0 for as many as the search has."""


class Strategy(ABC):
    """Which trials a search consists of."""

    complete: ClassVar[bool] = True
    """Whether all combinations of a space are tried, so that it must have finitely many."""

    @abstractmethod
    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """The steps that are known, given all finished trials by number; trials are numbered through all steps."""

    @abstractmethod
    def total(self, space: Space) -> int:
        """How many trials there will be."""


@dataclass(frozen=True)
class Tpe(Strategy):
    """The preset first, then what Optuna's TPE sampler proposes, `n_trials` in all."""

    n_trials: int
    complete = False

    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """Two: the preset, and the others."""
        return [
            [Proposal(parameters=space.preset_parameters)],
            [Proposal(parameters=None)] * (self.n_trials - 1),
        ]

    def total(self, space: Space) -> int:
        """`n_trials`."""
        return self.n_trials


@dataclass(frozen=True)
class TwoStep(Strategy):
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

    def total(self, space: Space) -> int:
        """Combinations, and the other values of alpha."""
        return len(self._combinations(space)) + len(self._others(space))

    def _combinations(self, space: Space) -> list[dict[str, Value]]:
        return space.grid(name for name in space.dimensions if name != ALPHA)

    def _others(self, space: Space) -> list[Value]:
        if ALPHA not in space.dimensions:
            return []
        return [value for value in space.dimensions[ALPHA].grid if value != space.preset.alpha]


@dataclass(frozen=True)
class Screen(Strategy):
    """Report 001: all combinations on few samples, then the best of them again on all."""

    pairs: int
    """Training samples of a round in the first step."""
    keep: int
    """How many are tried again."""

    def steps(self, space: Space, records: Sequence[TrialRecord]) -> list[list[Proposal]]:
        """One; two once the first is finished."""
        combinations = space.grid(space.dimensions)
        first = [Proposal(parameters=combination, pairs=self.pairs) for combination in combinations]
        if len(records) < len(first):
            return [first]
        ranked = sorted(
            (record for record in records[: len(first)] if record.score is not None),
            key=lambda record: (record.score, record.number),
        )
        return [first, [Proposal(parameters=_searched(space, record.hyper)) for record in ranked[: self.keep]]]

    def total(self, space: Space) -> int:
        """Combinations, and the best of them again."""
        combinations = len(space.grid(space.dimensions))
        return combinations + min(self.keep, combinations)


def _searched(space: Space, hyper: Hyperparameters) -> dict[str, Value]:
    values = hyper.as_dict()
    return {name: values[name] for name in space.dimensions}


def make_strategy(name: str, *, n_trials: int, screen_pairs: int, keep: int) -> Strategy:
    """The strategy of this name, which is one of `STRATEGIES`."""
    by_name: dict[str, Strategy] = {
        "tpe": Tpe(n_trials),
        "two-step": TwoStep(),
        "screen": Screen(screen_pairs, keep),
    }
    return by_name[name]

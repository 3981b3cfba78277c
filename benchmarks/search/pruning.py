"""What pruning saves and what it costs: the same searches with each pruner and without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.search.contest import Measure
from benchmarks.search.contestants import EQUAL_SPACE, LIKE_PEERS, Result, variantlab

NONE = "none"
PRUNERS = (NONE, "median", "halving", "hyperband", "wilcoxon")
"""Of `variantlab search --pruner`; the others are compared with `none`."""
SEEDS = (0, 1, 2)
TRIALS = 30
SPACE = {**EQUAL_SPACE, "batch_size": "{type: choice, values: [25, 50, 100]}"}


@dataclass(frozen=True, kw_only=True)
class Savings:
    """What was measured, by pruner and seed."""

    results: Mapping[str, Sequence[Result]]

    def epochs(self, pruner: str) -> list[float]:
        """Replica-epochs trained."""
        return [result.replica_epochs for result in self.results[pruner]]

    def saved(self, pruner: str) -> list[float]:
        """Share of the replica-epochs without pruning that was not trained."""
        return [1 - some / all_ for some, all_ in zip(self.epochs(pruner), self.epochs(NONE), strict=True)]

    def best(self, pruner: str) -> list[float]:
        """Least validation error."""
        return [result.best for result in self.results[pruner]]

    def lost(self, pruner: str) -> list[float]:
        """By how much that is greater than without pruning."""
        return [some - all_ for some, all_ in zip(self.best(pruner), self.best(NONE), strict=True)]


def measure_pruning(measure: Measure, population: int) -> Savings:
    """Search with each pruner and seed; all pruners of a seed follow one another."""
    results: dict[str, list[Result]] = {pruner: [] for pruner in PRUNERS}
    for seed in SEEDS:
        for pruner in PRUNERS:
            options = (*LIKE_PEERS, "--population", str(population), "--pruner", pruner)
            results[pruner].append(measure(variantlab(f"pruner {pruner}", SPACE, *options), TRIALS, seed))
    return Savings(results=results)

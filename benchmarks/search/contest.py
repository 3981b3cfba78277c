"""All contestants search in turn, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.cells import Ratio
from benchmarks.search.contestants import Contestant, Result
from benchmarks.search.plan import Plan
from benchmarks.work import SEED

Measure = Callable[[Contestant, int, int], Result]
"""Lets a contestant make so many trials with a seed."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What was measured, and its statistics."""

    trials: int
    """Of a whole search."""
    peers: tuple[str, ...]
    rounds: tuple[Mapping[str, Result], ...]
    """The results of each round by contestant."""

    def results(self, name: str) -> list[Result]:
        """Of one contestant by round."""
        return [round_[name] for round_ in self.rounds]

    def seconds(self, name: str) -> list[float]:
        """Of a whole search, by round."""
        return [result.seconds_for(self.trials) for result in self.results(name)]

    @property
    def fastest(self) -> list[float]:
        """The least seconds of the peers by round."""
        return [min(times) for times in zip(*map(self.seconds, self.peers), strict=True)]

    @property
    def targets(self) -> list[float]:
        """The least error of the peers by round."""
        return [min(round_[peer].best for peer in self.peers) for round_ in self.rounds]

    def reached(self, name: str) -> list[float]:
        """Seconds by round until a trial ended that is at least as good as the target; infinite if none was."""
        return [result.seconds_to(error) for result, error in zip(self.results(name), self.targets, strict=True)]

    def times_faster(self, seconds: Sequence[float]) -> Ratio:
        """How many times longer the fastest peer takes for a whole search, by round."""
        return spread([peer / own for peer, own in zip(self.fastest, seconds, strict=True)])


def spread(values: Sequence[float]) -> Ratio:
    """Median and range."""
    return Ratio(median=median(values), low=min(values), high=max(values))


def hold_contest(peers: Sequence[Contestant], plan: Plan, measure: Measure) -> Contest:
    """Let all search in turn: the peers a part, and the fastest of them all of it too if that is asked for."""
    everybody = [*((peer, plan.peer_trials) for peer in peers), *((other, plan.trials) for other in plan.variantlabs)]
    rounds = []
    for round_ in range(plan.repeats):
        start = round_ % len(everybody)  # so that nobody always follows the same neighbour
        turns = everybody[start:] + everybody[:start]
        results = {contestant.name: measure(contestant, trials, SEED) for contestant, trials in turns}
        if plan.whole:
            fastest = min(peers, key=lambda peer: results[peer.name].seconds_for(plan.trials))
            results[fastest.name] = measure(fastest, plan.trials, SEED)
        rounds.append(results)
    return Contest(trials=plan.trials, peers=tuple(peer.name for peer in peers), rounds=tuple(rounds))

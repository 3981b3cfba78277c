"""What is to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import this_machine
from benchmarks.search.contestants import Contestant, peers, variantlabs
from pipeline.base.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of one run."""

    contestants: list[str]
    chapters: list[str]
    trials: int
    """Of a whole search."""
    peer_trials: int
    """That the peers make; the others are extrapolated."""
    whole: bool
    """Let the best peer make all trials as well."""
    repeats: int
    population: int
    """Trials that variantlab trains together."""
    overhead_trials: int
    """Of the search that trains nothing."""
    workers: int
    cache_dir: Path

    def __post_init__(self) -> None:
        cores = this_machine().cores
        if self.workers > cores:
            there = "is 1 core" if cores == 1 else f"are {cores} cores"
            raise InputError(f"each worker needs a core of its own, but there {there} for --workers {self.workers}")
        if self.peer_trials > self.trials:
            raise InputError(
                f"a part of a search has no more trials than all of it, but got --peer-trials {self.peer_trials} and "
                f"--trials {self.trials}"
            )
        if self.peer_trials % self.workers:
            raise InputError(
                f"all workers must be busy to the end for a part to stand for the whole, but --peer-trials "
                f"{self.peer_trials} is no multiple of --workers {self.workers}"
            )

    @property
    def peers(self) -> list[Contestant]:
        """Those that are wanted."""
        return [peer for peer in peers(self.workers) if peer.name in self.contestants]

    @property
    def variantlabs(self) -> list[Contestant]:
        """Those that are wanted."""
        return [contestant for contestant in variantlabs(self.population) if contestant.name in self.contestants]

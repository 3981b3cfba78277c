"""Who searches, what each is told, and what it returns."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.search.folds import FoldTask

LR, ALPHA = (1e-4, 1e-2), (0.1, 10.0)
"""The ends of what is searched, on a log scale."""
EPOCHS = (10, 50)
"""The ends of what variantlab searches besides with everything on."""
LIKE_PEERS = ("--pruner", "none", "--recheck", "0")
"""Options of variantlab where it trains what the peers train."""
EVERYTHING_ON = ("--pruner", "median", "--precision", "bfloat16", "--population", "12", "--recheck", "0")
"""Options of variantlab where it uses all that it has."""


def log_range(ends: tuple[float, float]) -> str:
    """A dimension of a space file."""
    return f"{{type: float, low: {ends[0]}, high: {ends[1]}, log: true}}"


EQUAL_SPACE = {
    "lr": log_range(LR),
    "alpha": log_range(ALPHA),
    "batch_size": "{type: choice, values: [25]}",
    "epochs": "{type: choice, values: [25]}",
}
"""What the peers search. The preset, which variantlab tries first, lies inside."""
WIDE_SPACE = {
    **EQUAL_SPACE,
    "batch_size": "{type: choice, values: [25, 50, 100]}",
    "epochs": f"{{type: int, low: {EPOCHS[0]}, high: {EPOCHS[1]}, step: 5}}",
}


class Trial(NamedTuple):
    """One trial that was trained to its end."""

    after: float
    """Seconds from the beginning of the search to the end of the trial."""
    error: float
    """Mean validation error over folds."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a search, or one process's part of it, found and took."""

    seconds: float
    once: float = 0.0
    """Seconds of them that do not grow with the number of trials."""
    trials: int
    """Those that were stopped early included."""
    complete: tuple[Trial, ...]
    replica_epochs: int
    """Epochs trained, over all folds and trials."""

    @property
    def best(self) -> float:
        """The least error."""
        return min((trial.error for trial in self.complete), default=float("inf"))

    def seconds_for(self, trials: int) -> float:
        """What so many trials take, extrapolated unless they are all that were made."""
        return self.once + (self.seconds - self.once) * trials / self.trials

    def seconds_to(self, error: float) -> float:
        """When the first trial ended that is at most so wrong; infinite if none is."""
        return min((trial.after for trial in self.complete if trial.error <= error), default=float("inf"))


def together(parts: Sequence[Result]) -> Result:
    """One result of processes that searched at the same time."""
    return Result(
        seconds=max(part.seconds for part in parts),
        once=max(part.once for part in parts),
        trials=sum(part.trials for part in parts),
        complete=tuple(sorted(trial for part in parts for trial in part.complete)),
        replica_epochs=sum(part.replica_epochs for part in parts),
    )


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """How one contestant is run."""

    name: str
    module: str
    """Below `benchmarks.search`, with `ready(order)`; only child processes import it."""
    library: str
    """What must be installed."""
    processes: int = 1
    """Several share one study."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set before the library is imported."""
    space: Mapping[str, str] = field(default_factory=dict)
    """Hyperparameter -> dimension, for variantlab alone."""
    options: tuple[str, ...] = ()
    """Of `variantlab search`."""

    @property
    def is_installed(self) -> bool:
        """Whether its library can be imported."""
        return importlib.util.find_spec(self.library) is not None


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one process of a contestant is told before its time is taken."""

    contestant: Contestant
    task: FoldTask
    parallel: int
    """Trials that it trains at the same time, or variantlab's workers."""
    part: int
    """Which of the contestant's processes it is."""
    folder: Path
    """For its files; removed afterwards."""
    cache_dir: Path
    seed: int


Search = Callable[[int], Result]
"""Makes so many trials."""


def peers(workers: int) -> list[Contestant]:
    """What people use instead, by the number of trials that they train at the same time."""
    quiet_ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    return [
        Contestant(name="optuna threads", module="optuna_search", library="optuna"),
        Contestant(name="optuna processes", module="optuna_search", library="optuna", processes=workers),
        Contestant(name="ray tune", module="ray_search", library="ray", environment=quiet_ray),
    ]


def variantlab(name: str, space: Mapping[str, str], *options: str) -> Contestant:
    """The command line with these options."""
    return Contestant(name=name, module="variantlab_search", library="pipeline", space=space, options=options)


def variantlabs(population: int) -> list[Contestant]:
    """Variantlab with what the peers do, and with everything on."""
    at_once = ("--population", str(population))
    return [
        variantlab("variantlab", EQUAL_SPACE, *at_once, *LIKE_PEERS),
        variantlab("everything on", WIDE_SPACE, *at_once, *EVERYTHING_ON),  # of options given twice the last one counts
    ]

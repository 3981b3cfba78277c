"""What a search is told, and what of it its numbers depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.folds import check_folds
from pipeline.data.pools import Pools
from pipeline.data.rounds import draw_samples
from pipeline.models.registry import get_variant
from pipeline.models.variant import Variant
from pipeline.stages.replicas import FoldsConfig, open_pools
from pipeline.tuning.ledger import Method
from pipeline.tuning.pruning import LEAST_FOLDS, PRUNERS
from pipeline.tuning.samplers import TWO_OBJECTIVES
from pipeline.tuning.space import Space
from pipeline.tuning.space_file import SPACES, load_space, space_path
from pipeline.tuning.strategies import ALPHA, COMPLETE, STRATEGIES, Strategy, make_strategy

MAX_TRIALS = 100_000
MAX_POPULATION = 1000
MAX_NAME = 512
"""Characters of a study's name that Optuna keeps."""
COSTS = ("parameters", "time")
"""What can be minimised besides the error."""
REUSES = ("study", "storage", "none")
MEASUREMENT = ("model", "dataset", "pooling", "pairs", "seed", "data_digest", "folds", "rounds", "precision")
"""The parts of a protocol that decide what trying a configuration gives, however it was chosen."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig(FoldsConfig):
    """What to search."""

    folds: int = 5
    sampler: str = "tpe"
    """One of Optuna's, the preset first: `tpe`, `random`, `qmc`, `cmaes`, `gp`, `nsga2`; or all combinations: `grid`,
    `two-step` (report 003: then alpha), `screen` (report 001: on few samples, then the best of them on all)."""
    space: str = ""
    """A search space file; empty for the model's own in `search_spaces/`, see `default_space`."""
    n_trials: int = 30
    """Trials of a sampler in all, those of earlier starts included; the others have as many as combinations."""
    trade_off: str = ""
    """What `nsga2` minimises besides the error: `parameters` or `time`; empty for `parameters`."""
    screen_pairs: int = 350
    """Training samples of a round while `screen` tries all combinations."""
    keep: int = 3
    """How many of them it tries again on all samples."""
    population: int = 6
    """Trials that are asked for, and train, together."""
    pruner: str = "median"
    """Of Optuna's samplers with one objective: see `PRUNERS`; the others train every trial to its end."""
    reuse: str = "study"
    """What a configuration that was tried before is read off: trials of this `study`; of all studies in the `storage`
    that measured alike; or `none`: it is tried on a new draw of samples, and both count."""
    recheck: int = 5
    """How many of the best are tried again on fresh samples, folds and weights before one is chosen; 0 for none."""
    budget: float = 0.0
    """Seconds that the trials of the study may take, all starts together; 0 for no limit."""
    timeout: float = 0.0
    """Seconds after which this start begins no further generation; 0 for no limit."""
    study: str = ""
    """Name of the study; empty for one that is named after the protocol, so that the same command resumes it."""
    storage: str = "sqlite:///optuna.db"
    artifacts: str = "optuna-artifacts"
    """Folder of the study's artifacts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind, value, known in (
            ("sampler", self.sampler, STRATEGIES),
            ("pruner", self.pruner, PRUNERS),
            ("reuse", self.reuse, REUSES),
            ("trade-off", self.trade_off or COSTS[0], COSTS),
        ):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        limits = (
            ("n-trials", self.n_trials, 1, MAX_TRIALS),
            ("population", self.population, 1, MAX_POPULATION),
            ("keep", self.keep, 1, MAX_TRIALS),
            ("recheck", self.recheck, 0, MAX_TRIALS),
        )
        for name, number, low, high in limits:
            if not low <= number <= high:
                raise InputError(f"--{name} must be between {low} and {high}, but got {number}")
        if not self.study.isprintable() or len(self.study) > MAX_NAME:
            raise InputError(f"--study must be printable, {MAX_NAME} characters at most, but got {self.study!r}")
        if self.trade_off and not self.cost:
            raise InputError(f"only nsga2 minimises two things, but got --trade-off with --sampler {self.sampler}")
        if self.prunes and self.pruner == "wilcoxon" and self.folds * self.rounds < LEAST_FOLDS:
            raise InputError(
                f"Wilcoxon's test tells nothing from less than {LEAST_FOLDS} folds, but got --folds {self.folds} and "
                f"--rounds {self.rounds}; choose another --pruner"
            )
        if self.sampler == "screen":
            check_folds(self.folds, self.screen_pairs)
        if self.setting.pairs:
            self.check_pairs(self.setting.pairs)

    @property
    def cost(self) -> str:
        """What is minimised besides the error; empty for nothing."""
        return (self.trade_off or COSTS[0]) if self.sampler == TWO_OBJECTIVES else ""

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        return self.sampler not in COMPLETE and not self.cost and self.pruner != "none"

    def check_pairs(self, pairs: int) -> None:
        """Raise InputError unless screening and pruning are possible with so many training samples in a round."""
        if self.sampler == "screen" and self.screen_pairs > pairs:
            raise InputError(
                f"a screening takes no more pairs than the trials after it, but got --screen-pairs "
                f"{self.screen_pairs} and --pairs {pairs}"
            )
        if self.prunes and pairs % self.folds:
            raise InputError(
                f"pruning needs folds of equal size, but {pairs} pairs do not divide into {self.folds}; "
                f"choose another --folds, or --pruner none"
            )

    def make_strategy(self) -> Strategy:
        """Which trials this search consists of."""
        return make_strategy(self.sampler, n_trials=self.n_trials, screen_pairs=self.screen_pairs, keep=self.keep)

    def method(self, space: Space) -> Method:
        """How the study is searched."""
        return Method(
            space=space,
            strategy=self.make_strategy(),
            sampler=self.sampler,
            population=self.population,
            seed=self.setting.seed,
            pruner=self.pruner if self.prunes else "none",
            select=self.select,
            objectives=2 if self.cost else 1,
            replicate=self.reuse == "none",
        )

    @property
    def params(self) -> dict[str, Any]:
        """As they are logged."""
        return {
            **self.setting.params,
            "folds": self.folds,
            "rounds": self.rounds,
            "sampler": self.sampler,
            "trade_off": self.cost or "none",
            "select": self.select,
            "n_trials": self.n_trials,
            "screen_pairs": self.screen_pairs,
            "keep": self.keep,
            "population": self.population,
            "pruner": self.pruner if self.prunes else "none",
            "reuse": self.reuse,
            "recheck": self.recheck,
            "budget": self.budget,
            "timeout": self.timeout,
            **self.compute.params,
        }

    def protocol(self, space: Space, pools: Pools) -> dict[str, Any]:
        """Everything that the trials' numbers depend on; of the test samples there is nothing in it."""
        setting = {name: value for name, value in self.setting.params.items() if name != "test_pairs"}
        return {
            "model": self.model,
            **setting,
            "data_digest": pools.digest,
            "space": space.digest,
            "folds": self.folds,
            "rounds": self.rounds,
            "population": self.population,
            "pruner": self.pruner if self.prunes else "none",
            "precision": self.compute.precision,
            "sampler": self.sampler,
            "select": self.select,
            "reuse": self.reuse,
            **({"trade_off": self.cost} if self.cost else {}),
            **({"screen_pairs": self.screen_pairs, "keep": self.keep} if self.sampler == "screen" else {}),
        }

    def study_name(self, space: Space, pools: Pools) -> str:
        """Names that read well beside each other, and differ where protocols do."""
        fingerprint = hashlib.sha256(json.dumps(self.protocol(space, pools), sort_keys=True).encode()).hexdigest()
        return self.study or f"{self.model} {pools.name} {self.sampler} {fingerprint[:8]}"


def default_space(variant: Variant, sampler: str) -> Path:
    """The file in `search_spaces/` that a search reads when it is not given one."""
    if sampler == "two-step":
        return SPACES / "two_step" / ("with_alpha.yaml" if variant.auxiliary_loss else "without_alpha.yaml")
    return (SPACES / "screen" if sampler == "screen" else SPACES) / f"{variant.name}.yaml"


def space_of(config: SearchConfig) -> Space:
    """What the search may vary: its file, read."""
    variant = get_variant(config.model)
    path = space_path(config.space) if config.space else default_space(variant, config.sampler)
    if config.sampler == "screen" and not config.space and not path.exists():
        raise InputError(f"there is no space to screen {variant.name} over; give one with --space")
    space = load_space(variant, path, complete=config.make_strategy().complete)
    alpha = space.dimensions.get(ALPHA)
    if config.sampler == "two-step" and alpha is not None and space.preset.alpha not in alpha:
        raise InputError(
            f"{path}: alpha must have a default or admit {space.preset.alpha:g}, the preset of {variant.name}, with "
            f"which the first step trains"
        )
    return space


def inputs(config: SearchConfig) -> tuple[Variant, Space, Pools]:
    """The variant, its space, and the pools, which suffice for the pairs that are asked for."""
    variant, space = get_variant(config.model), space_of(config)
    pools = open_pools(variant, config.setting, config.compute)
    count = config.setting.training_samples(pools)
    config.check_pairs(count)
    draw_samples("train", pools.train, count, seed=config.setting.seed, round_=0)  # raises where the pool is too small
    check_folds(config.folds, count)
    return variant, space, pools

"""What a search is told, and what of it its numbers depend on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.stored import SAMPLES, SCREEN_SAMPLES, TEST_SAMPLES
from pipeline.data.dataset import Splits
from pipeline.data.folds import check_folds
from pipeline.models.variant import Variant
from pipeline.stages.replicas import FoldsConfig, fold_replicas, open_stage
from pipeline.tasks.registry import get_variant, variants
from pipeline.tasks.subjects import Subject
from pipeline.tuning.dimensions import FloatRange, IntRange
from pipeline.tuning.given_space import Given, given_space
from pipeline.tuning.ledger import Method
from pipeline.tuning.pruning import LEAST_FOLDS, PRUNERS
from pipeline.tuning.samplers import TWO_OBJECTIVES
from pipeline.tuning.space import Space
from pipeline.tuning.space_file import SPACES, family_space, listed_models, load_space, space_path
from pipeline.tuning.trial_samplers import ALPHA, COMPLETE, TRIAL_SAMPLERS, TrialSampler, make_trial_sampler

MAX_TRIALS = 100_000
MAX_POPULATION = 1000
MAX_NAME = 512
"""Characters of a study's name that Optuna keeps."""
TWO_STEP = "two_step"
"""The search space of all variants for two steps."""
ANY_NETWORK: Given = {
    "lr": FloatRange(1e-4, 1e-1, log=True, significant_digits=3),
    "batch_size": [10, 25, 50, 100],
    "epochs": IntRange(5, 50, step=5),
}
"""What a search varies of a person's network that has no space of its own."""
COSTS = ("parameters", "time")
"""What can be minimised besides the error."""
REUSES = ("study", "storage", "none")
MEASUREMENT = ("model", "code", "metric", "dataset", SAMPLES, "seed", "data_digest", "folds", "rounds", "precision")
"""The parts of a protocol that decide what trying a configuration gives, however it was chosen."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig(FoldsConfig):
    """What to search."""

    folds: int = 5
    sampler: str = "tpe"
    """One of Optuna's, the preset first: `tpe`, `random`, `qmc`, `cmaes`, `gp`, `nsga2`; or all combinations: `grid`,
    `two-step` (report 003: then alpha), `screen` (report 001: on few samples, then the best of them on all)."""
    space: str | Given = ""
    """A search space file, or a mapping of what it would say; empty for the model's own, see `default_space`."""
    n_trials: int = 30
    """Trials of a sampler in all, those of earlier starts included; the others have as many as combinations."""
    trade_off: str = ""
    """What `nsga2` minimises besides the error: `parameters` or `time`; empty for `parameters`."""
    screen_samples: int = 350
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
    """Seconds after which this start begins no further batch; 0 for no limit."""
    study: str = ""
    """Name of the study; empty for one that is named after the protocol, so that the same command resumes it."""
    storage: str = "sqlite:///optuna.db"
    artifacts: str = "optuna-artifacts"
    """Folder of the study's artifacts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind, value, known in (
            ("sampler", self.sampler, TRIAL_SAMPLERS),
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
            check_folds(self.folds, self.screen_samples)
        if self.sampling.samples:
            self.check_samples(self.sampling.samples)

    @property
    def cost(self) -> str:
        """What is minimised besides the error; empty for nothing."""
        return (self.trade_off or COSTS[0]) if self.sampler == TWO_OBJECTIVES else ""

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        is_grouped = self.sampling.data.is_grouped  # whole groups do not give folds of equal size
        return self.sampler not in COMPLETE and not self.cost and not is_grouped and self.pruner != "none"

    def check_samples(self, samples: int) -> None:
        """Raise InputError unless screening and pruning are possible with so many training samples in a round."""
        if self.sampler == "screen" and self.screen_samples > samples:
            raise InputError(
                f"a screening takes no more samples than the trials after it, but got --screen-samples "
                f"{self.screen_samples} and --samples {samples}"
            )
        if self.prunes and samples % self.folds:
            raise InputError(
                f"pruning needs folds of equal size, but {samples} samples do not divide into {self.folds}; "
                f"choose another --folds, or --pruner none"
            )

    def make_trial_sampler(self) -> TrialSampler:
        """Which trials this search consists of."""
        sizes = {"n_trials": self.n_trials, "screen_samples": self.screen_samples, "keep": self.keep}
        return make_trial_sampler(self.sampler, **sizes)

    def method(self, space: Space) -> Method:
        """How the study is searched."""
        return Method(
            space=space,
            trial_sampler=self.make_trial_sampler(),
            sampler=self.sampler,
            population=self.population,
            seed=self.sampling.seed,
            pruner=self.pruner if self.prunes else "none",
            select=self.select,
            objectives=2 if self.cost else 1,
            replicate=self.reuse == "none",
        )

    @property
    def params(self) -> dict[str, Any]:
        """As they are logged."""
        return {
            **self.sampling.params,
            "folds": self.folds,
            "rounds": self.rounds,
            "sampler": self.sampler,
            "trade_off": self.cost or "none",
            "select": self.select,
            "n_trials": self.n_trials,
            SCREEN_SAMPLES: self.screen_samples,
            "keep": self.keep,
            "population": self.population,
            "pruner": self.pruner if self.prunes else "none",
            "reuse": self.reuse,
            "recheck": self.recheck,
            "budget": self.budget,
            "timeout": self.timeout,
            **self.compute.params,
        }

    def protocol(self, space: Space, variant: Variant, splits: Splits) -> dict[str, Any]:
        """Everything that the trials' numbers depend on; of the test samples there is nothing in it."""
        sampling = {name: value for name, value in self.sampling.params.items() if name != TEST_SAMPLES}
        return {
            "model": variant.name,
            **({"code": variant.code} if variant.code else {}),
            **({"metric": self.sampling.data.metric} if self.sampling.data.metric else {}),
            **sampling,
            "data_digest": splits.digest,
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
            **({SCREEN_SAMPLES: self.screen_samples, "keep": self.keep} if self.sampler == "screen" else {}),
        }

    def study_name(self, space: Space, variant: Variant, splits: Splits) -> str:
        """Names that read well beside each other, and differ where protocols do."""
        protocol = json.dumps(self.protocol(space, variant, splits), sort_keys=True)
        fingerprint = hashlib.sha256(protocol.encode()).hexdigest()
        return self.study or f"{variant.name} {splits.name} {self.sampler} {fingerprint[:8]}"


def default_space(variant: Variant, sampler: str) -> Path:
    """The file in `search_spaces/` that a search reads when it is not given one."""
    if sampler == "two-step":
        return SPACES / f"{TWO_STEP}.yaml"
    return SPACES / "screen" / f"{variant.name}.yaml" if sampler == "screen" else family_space(variant)


def own_space(variant: Variant) -> Path | None:
    """That of a person's model: beside its file, under the name of the variant or its family, or `space.yaml`."""
    names = dict.fromkeys((variant.name, variant.family, "space"))
    beside = [variant.folder / f"{name}.yaml" for name in names] if variant.folder else []
    return next((path for path in beside if path.is_file()), None)


def _any_space(variant: Variant) -> Space:
    """Of a person's model that brings none."""
    if variant.make_step is not None:
        raise InputError(
            f"a search needs a space of what {variant.name} is fitted with ({', '.join(variant.hyperparameters)}); "
            f"write one, such as `NAME: {{type: int, low: 1, high: 9}}`, and give it with --space"
        )
    return given_space(variant, ANY_NETWORK)


def space_file(given: str) -> Path:
    """The search space that a person names: their own file, or one of `search_spaces/`, also by a variant's name."""
    path = space_path(given)
    if path.parent.name == TWO_STEP and not os.path.exists(path):  # in which there were two
        return SPACES / f"{TWO_STEP}.yaml"
    is_shipped = path.parent in (Path(), Path(SPACES.name), SPACES)
    if is_shipped and not os.path.exists(path) and path.stem in variants():
        return family_space(get_variant(path.stem))
    return path


def space_of(config: SearchConfig) -> Space:
    """What the search may vary: its file, read."""
    variant = config.variant
    if not isinstance(config.space, str):
        return given_space(variant, config.space)
    if config.space:
        path = space_file(config.space)
    elif variant.foreign:
        own = own_space(variant)
        if own is None:
            return _any_space(variant)
        path = own
    else:
        path = default_space(variant, config.sampler)
    if config.sampler == "screen" and not config.space and not path.exists():
        raise InputError(f"there is no space to screen {variant.name} over; give one with --space")
    if os.path.exists(path):
        listed_models(path, {*variants(), variant.name})  # raises for one that there is not
    space = load_space(variant, path, complete=config.make_trial_sampler().complete)
    alpha = space.dimensions.get(ALPHA)
    if config.sampler == "two-step" and alpha is not None and space.preset.alpha not in alpha:
        raise InputError(
            f"{path}: alpha must have a default or admit {space.preset.alpha:g}, the preset of {variant.name}, with "
            f"which the first step trains"
        )
    return space


def inputs(config: SearchConfig) -> tuple[Subject, Space]:
    """The variant with its data, which suffice for the samples that are asked for, and its space."""
    space = space_of(config)
    subject = open_stage(config.model, config.sampling, config.compute)
    splits, count = subject.splits, config.sampling.fold_count(subject.splits, config.folds)
    check_folds(config.folds, count)
    config.check_samples(count)
    fold_replicas(splits, config.sampling, space.preset, rounds=1, folds=config.folds)  # raises for too few samples
    return subject, space

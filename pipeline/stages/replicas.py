"""From rounds and folds to replicas, and from their outcomes to curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.folds import check_folds, split_folds
from pipeline.data.pools import Pools
from pipeline.data.prepared import load_pools
from pipeline.data.rounds import draw_samples
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.variant import Variant
from pipeline.stages.stage import Setting
from pipeline.training.compute import Compute
from pipeline.training.plan import Outcome, Replica
from pipeline.tuning.trials import SELECTIONS

MAX_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True)
class FoldsConfig:
    """What every stage that cross-validates is told."""

    setting: Setting
    model: str
    folds: int
    rounds: int = 1
    select: str = "mean"
    """What the best has least of: `mean` validation error over folds, or `mean+std`."""
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        if self.setting.pairs:
            check_folds(self.folds, self.setting.pairs)
        if not 1 <= self.rounds <= MAX_ROUNDS:
            raise InputError(f"--rounds must be between 1 and {MAX_ROUNDS}, but got {self.rounds}")
        if self.select not in SELECTIONS:
            raise UnknownNameError("selection", self.select, SELECTIONS)


def open_pools(variant: Variant, setting: Setting, compute: Compute) -> Pools:
    """The pools of a data set that this variant can learn from.

    Raises InputError where data, variant and precision do not go together.
    """
    points = variant.task == "points"
    if points != (setting.data.dataset == "disc"):
        needed = "points, so use --dataset disc" if points else "digits, so use --dataset mnist5k, mnist or idx"
        raise InputError(f"{variant.name} learns from {needed}, but got --dataset {setting.data.dataset}")
    if points and compute.precision != "float32":
        raise InputError(f"{variant.name} trains in float32 only, but got --precision {compute.precision}")
    return load_pools(setting.data)


def fold_replicas(
    pools: Pools,
    setting: Setting,
    hyper: Hyperparameters,
    *,
    rounds: int,
    folds: int,
    first_round: int = 0,
    name: tuple[str | int, ...] = (),
    read_at: tuple[int, ...] = (),
    patience: int = 0,
) -> tuple[Replica, ...]:
    """K-fold cross validation of the training samples of each round, round by round; the test pool takes no part."""
    replicas = []
    for round_ in range(first_round, first_round + rounds):
        samples = draw_samples("train", pools.train, setting.training_samples(pools), seed=setting.seed, round_=round_)
        for fold, (train, validation) in enumerate(split_folds(samples, folds, seed=setting.seed, round_=round_)):
            replicas.append(
                Replica(
                    seed=setting.seed,
                    name=(*name, "round", round_, "fold", fold),
                    hyper=hyper,
                    train=train,
                    held_out=validation,
                    read_at=read_at,
                    patience=patience,
                )
            )
    return tuple(replicas)


def round_replicas(pools: Pools, setting: Setting, hyper: Hyperparameters, *, rounds: int) -> tuple[Replica, ...]:
    """One training a round on its training samples, held out: its test samples from the test pool."""
    train, test = setting.training_samples(pools), setting.test_samples(pools)
    return tuple(
        Replica(
            seed=setting.seed,
            name=("round", round_),
            hyper=hyper,
            train=draw_samples("train", pools.train, train, seed=setting.seed, round_=round_),
            held_out=draw_samples("test", pools.test, test, seed=setting.seed, round_=round_),
        )
        for round_ in range(rounds)
    )


def curves_of(outcomes: Sequence[Outcome], held_out: str) -> dict[str, list[list[float]]]:
    """Metric name -> the curve of each training; `held_out` is what the held-out samples are called."""
    names = {
        "train_loss": "train_loss_E",
        "train_error": "train_error_E",
        f"{held_out}_loss": "held_out_loss_E",
        f"{held_out}_error": "held_out_error_E",
        f"{held_out}_digit_error": "held_out_digit_error_E",
    }
    curves = {name: [getattr(outcome, field).tolist() for outcome in outcomes] for name, field in names.items()}
    return {name: values for name, values in curves.items() if any(values)}


def error_series(curves: Mapping[str, list[list[float]]], held_out: str) -> dict[str, list[list[float]]]:
    """The error curves among metrics by the name that they have in a picture."""
    names = {"train_error": "training", f"{held_out}_error": held_out, f"{held_out}_digit_error": f"{held_out}, digits"}
    return {label: curves[name] for name, label in names.items() if name in curves}

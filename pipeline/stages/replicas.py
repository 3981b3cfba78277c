"""From rounds and folds to replicas: how many there are, and which pairs each training sees."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.data.digits import DigitPools
from pipeline.data.folds import check_folds, split_folds
from pipeline.data.pairs import draw_pairs
from pipeline.errors import InputError
from pipeline.models.variant import Hyperparameters
from pipeline.stages.stage import Setting
from pipeline.training.compute import Compute
from pipeline.training.plan import Replica

MAX_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True)
class FoldsConfig:
    """What every stage that cross-validates is told."""

    setting: Setting
    model: str
    folds: int
    rounds: int = 1
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        check_folds(self.folds, self.setting.pairs)
        if not 1 <= self.rounds <= MAX_ROUNDS:
            raise InputError(f"--rounds must be between 1 and {MAX_ROUNDS}, but got {self.rounds}")


def fold_replicas(
    pools: DigitPools,
    setting: Setting,
    hyper: Hyperparameters,
    *,
    rounds: int,
    folds: int,
    name: tuple[str | int, ...] = (),
    read_at: tuple[int, ...] = (),
    patience: int = 0,
) -> tuple[Replica, ...]:
    """K-fold cross validation of the training pairs of each round, round by round; the test digits take no part."""
    replicas = []
    for round_ in range(rounds):
        pairs = draw_pairs("train", len(pools.train), setting.pairs, seed=setting.seed, round_=round_)
        for fold, (train, validation) in enumerate(split_folds(pairs, folds, seed=setting.seed, round_=round_)):
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


def round_replicas(pools: DigitPools, setting: Setting, hyper: Hyperparameters, *, rounds: int) -> tuple[Replica, ...]:
    """One training a round on its training pairs, held out: its test pairs from the test digits."""
    return tuple(
        Replica(
            seed=setting.seed,
            name=("round", round_),
            hyper=hyper,
            train=draw_pairs("train", len(pools.train), setting.pairs, seed=setting.seed, round_=round_),
            held_out=draw_pairs("test", len(pools.test), setting.pairs, seed=setting.seed, round_=round_),
        )
        for round_ in range(rounds)
    )

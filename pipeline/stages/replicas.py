"""From rounds and folds to replicas: which pairs each training sees."""

from __future__ import annotations

from pipeline.data.digits import DigitPools
from pipeline.data.folds import split_folds
from pipeline.data.pairs import draw_pairs
from pipeline.models.variant import Hyperparameters
from pipeline.stages.stage import Setting
from pipeline.training.plan import Replica


def fold_replicas(
    pools: DigitPools,
    setting: Setting,
    hyper: Hyperparameters,
    *,
    rounds: int,
    folds: int,
    name: tuple[str | int, ...] = (),
    read_at: tuple[int, ...] = (),
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

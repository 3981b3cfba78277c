"""Small replicas and chunks over the digits of `tests.synthetic`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.data.pairs import draw_pairs
from pipeline.models.registry import get_variant
from pipeline.models.variant import Hyperparameters
from pipeline.training.plan import Chunk, Replica, StopRule


def make_replica(
    index: int,
    hyper: Hyperparameters,
    *,
    pairs: int = 60,
    held_out: int = 30,
    read_at: tuple[int, ...] = (),
    patience: int = 0,
) -> Replica:
    """A replica with data, weights and order of its own."""
    return Replica(
        seed=0,
        name=("test", index),
        hyper=hyper,
        train=draw_pairs("train", 400, pairs, seed=0, round_=index),
        held_out=draw_pairs("held out", 200, held_out, seed=0, round_=index),
        read_at=read_at,
        patience=patience,
    )


def make_hypers(variant: str, count: int, batch_size: int = 20, **same: Any) -> list[Hyperparameters]:
    """Learning rates (some neighbours share one), epochs (1 to 4), alphas and decays that differ."""
    auxiliary_loss = get_variant(variant).auxiliary_loss
    return [
        Hyperparameters(
            lr=(1e-3, 1e-3, 4e-3, 5e-4, 5e-4, 1e-3, 2e-3)[index % 7],
            epochs=(3, 4, 2, 4, 1, 4, 3)[index % 7],
            batch_size=batch_size,
            alpha=(0.0, 1.0, 0.3, 2.0)[(index + 1) % 4] if auxiliary_loss else 0.0,
            weight_decay=(1e-2, 1e-3, 0.0)[index % 3],
            **same,
        )
        for index in range(count)
    ]


def make_chunk(
    variant: str, replicas: Sequence[Replica], *, stop: StopRule | None = None, keep_models: bool = False
) -> Chunk:
    """All replicas in one chunk, however many they are."""
    return Chunk(
        job=0,
        positions=tuple(range(len(replicas))),
        replicas=tuple(replicas),
        variant=variant,
        stop=stop,
        keep_models=keep_models,
    )

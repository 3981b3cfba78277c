"""Small replicas and chunks over the digits and points of `tests.synthetic`."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.data.pools import Pool
from pipeline.data.rounds import draw_samples
from pipeline.models.hyperparameters import DEFAULTS, Hyperparameters, Value
from pipeline.models.registry import get_variant, variants
from pipeline.models.variant import Variant
from pipeline.training.plan import Chunk, Replica, StopRule, Team
from tests.synthetic import make_digits, make_points

DIGITS: tuple[Pool, Pool] = make_digits(400, "train"), make_digits(200, "held out")
POINTS: tuple[Pool, Pool] = make_points(200, "train"), make_points(100, "held out")
"""As many as the fixtures of the same names have; of a pool only the size matters here."""
OF_DIGITS = {name: row for name, row in variants().items() if row.task != "points"}
"""The variants that look at pairs of digits, by networks of torch."""
OF_POINTS = {name: row for name, row in variants().items() if row.task == "points"}


def make_hyper(variant: str | Variant, **changes: Value) -> Hyperparameters:
    """Of the preset only the structure, and what is fixed; all else is short, or the default."""
    row = get_variant(variant) if isinstance(variant, str) else variant
    plain = {name: value for name, value in DEFAULTS.items() if name not in row.fixed}
    return row.preset.having({**plain, "lr": 1e-3, "batch_size": 20, "epochs": 3, **changes})


def make_replica(
    index: int,
    hyper: Hyperparameters,
    *,
    samples: int = 60,
    held_out: int = 30,
    pools: tuple[Pool, Pool] = DIGITS,
    read_at: tuple[int, ...] = (),
    patience: int = 0,
) -> Replica:
    """A replica with data, weights and order of its own."""
    train_pool, held_out_pool = pools
    return Replica(
        seed=0,
        name=("test", index),
        hyper=hyper,
        train=draw_samples("train", train_pool, samples, seed=0, round_=index),
        held_out=draw_samples("held out", held_out_pool, held_out, seed=0, round_=index),
        read_at=read_at,
        patience=patience,
    )


def make_hypers(variant: str, count: int, batch_size: int = 20, **same: Value) -> list[Hyperparameters]:
    """Learning rates (some neighbours share one), epochs (1 to 3), alphas and decays that differ."""
    row = get_variant(variant)
    hypers = []
    for index in range(count):
        differing: dict[str, Value] = {
            "lr": (1e-3, 1e-3, 4e-3, 5e-4, 5e-4, 1e-3, 2e-3)[index % 7],
            "epochs": (2, 3, 2, 3, 1, 3, 2)[index % 7],
            "alpha": (0.0, 1.0, 0.3, 2.0)[(index + 1) % 4] if row.auxiliary_loss else 0.0,
            "weight_decay": (1e-2, 1e-3, 0.0)[index % 3],
        }
        own = {name: value for name, value in differing.items() if name not in row.fixed}
        hypers.append(make_hyper(variant, **{**own, "batch_size": batch_size, **same}))
    return hypers


def make_chunk(
    variant: str, replicas: Sequence[Replica], *, stop: StopRule | None = None, keep_models: bool = False
) -> Chunk:
    """All replicas in one chunk, however many they are."""
    return Chunk(
        places=tuple((0, position) for position in range(len(replicas))),
        replicas=tuple(replicas),
        variant=variant,
        teams=() if stop is None else (Team(rows=tuple(range(len(replicas))), stop=stop),),
        keep_models=keep_models,
    )

"""Small replicas and chunks over the digits and points of `tests.synthetic`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.base.seeds import numpy_generator
from pipeline.data.dataset import ArrayDataset, Dataset
from pipeline.data.rounds import draw_samples
from pipeline.models.hyperparameters import DEFAULTS, Hyperparameters, Value
from pipeline.models.variant import Variant
from pipeline.tasks.registry import get_variant, variants
from pipeline.training.plan import Chunk, Replica, StopGroup, StopRule
from tests.synthetic import make_digits, make_points

DIGITS: tuple[Dataset, Dataset] = make_digits(400, "train"), make_digits(200, "held out")
POINTS: tuple[Dataset, Dataset] = make_points(200, "train"), make_points(100, "held out")
"""As many as the fixtures of the same names have; of a data set only the size matters here."""


def make_rows(count: int, name: str, features: int, classes: int) -> ArrayDataset:
    """Features of different sizes, the first of them constant; their sum is the value, or says the class."""
    x_ND = numpy_generator(0, "rows", name).random((count, features), dtype=np.float32) * np.arange(features)
    share_N = (x_ND.sum(1) - x_ND.sum(1).min()) / np.ptp(x_ND.sum(1))
    target_N = 100 + 100 * share_N if not classes else (share_N * classes).clip(max=classes - 1).astype(np.int64)
    return ArrayDataset(x_ND=x_ND.astype(np.float32), target_N=target_N if classes else target_N.astype(np.float32))


ROWS: dict[str, tuple[Dataset, Dataset]] = {
    "classification": (make_rows(200, "train", 64, 10), make_rows(100, "held out", 64, 10)),
    "regression": (make_rows(200, "train", 10, 0), make_rows(100, "held out", 10, 0)),
}
"""By task."""
OF_DIGITS = {name: row for name, row in variants().items() if row.task in ("pairs", "digits")}
"""The variants that look at pairs of digits, by networks of torch."""
OF_POINTS = {name: row for name, row in variants().items() if row.task == "points"}

OF_ROWS = {name: row for name, row in variants().items() if row.task in ROWS}


def row_of(variant: str | Variant) -> Variant:
    """The variant, or the registered one of this name."""
    return get_variant(variant) if isinstance(variant, str) else variant


def has_alpha(variant: str | Variant) -> bool:
    """Whether there is an auxiliary loss."""
    return "alpha" in row_of(variant).objective.hyperparameters


def make_hyper(variant: str | Variant, **changes: Value) -> Hyperparameters:
    """Of the preset only the structure, and what is fixed; all else is short, or the default."""
    row = row_of(variant)
    plain = {name: value for name, value in DEFAULTS.items() if name not in row.fixed}
    return row.preset.replaced({**plain, "lr": 1e-3, "batch_size": 20, "epochs": 3, **changes})


def make_replica(
    index: int,
    hyper: Hyperparameters,
    *,
    samples: int = 60,
    held_out: int = 30,
    splits: tuple[Dataset, Dataset] = DIGITS,
    read_at: tuple[int, ...] = (),
    patience: int = 0,
) -> Replica:
    """A replica with data, weights and order of its own."""
    train, held_out_samples = splits
    return Replica(
        seed=0,
        name=("test", index),
        hyper=hyper,
        train=draw_samples("train", train, samples, seed=0, round_=index),
        held_out=draw_samples("held out", held_out_samples, held_out, seed=0, round_=index),
        read_at=read_at,
        patience=patience,
    )


def make_hypers(variant: str | Variant, count: int, batch_size: int = 20, **same: Value) -> list[Hyperparameters]:
    """Learning rates (some neighbours share one), epochs (1 to 3), alphas and decays that differ."""
    row = row_of(variant)
    hypers = []
    for index in range(count):
        differing: dict[str, Value] = {
            "lr": (1e-3, 1e-3, 4e-3, 5e-4, 5e-4, 1e-3, 2e-3)[index % 7],
            "epochs": (2, 3, 2, 3, 1, 3, 2)[index % 7],
            "alpha": (0.0, 1.0, 0.3, 2.0)[(index + 1) % 4] if has_alpha(row) else 0.0,
            "weight_decay": (1e-2, 1e-3, 0.0)[index % 3],
        }
        own = {name: value for name, value in differing.items() if name not in row.fixed}
        hypers.append(make_hyper(row, **{**own, "batch_size": batch_size, **same}))
    return hypers


def make_chunk(
    variant: str | Variant, replicas: Sequence[Replica], *, stop: StopRule | None = None, keep_models: bool = False
) -> Chunk:
    """All replicas in one chunk, however many they are."""
    return Chunk(
        places=tuple((0, position) for position in range(len(replicas))),
        replicas=tuple(replicas),
        variant=row_of(variant),
        stop_groups=() if stop is None else (StopGroup(rows=tuple(range(len(replicas))), stop=stop),),
        keep_models=keep_models,
    )

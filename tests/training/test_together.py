"""Replicas that train together equal replicas that train alone, whatever they train with.

In float64: in float32 Adam amplifies rounding, and equality would prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from pipeline.models.hyperparameters import OPTIMISERS, SCHEDULES, Value
from pipeline.models.variant import Variant, normalises
from pipeline.tasks.registry import get_variant
from pipeline.training.plan import Outcome, Replica
from tests.training.conftest import Splits
from tests.training.models import NOISY
from tests.training.plain import assert_curves_close
from tests.training.plans import (
    OF_DIGITS,
    OF_POINTS,
    OF_ROWS,
    POINTS,
    ROWS,
    make_chunk,
    make_hyper,
    make_hypers,
    make_replica,
    row_of,
)

COUNTS, HEAVY_COUNTS = (1, 2, 7), (1, 3)
PAIRS, BATCH_SIZE, HEAVY_PAIRS, HEAVY_BATCH_SIZE = 10, 6, 5, 3
"""The last batch is a smaller one."""
EVERY_WAY = [name for name, row in OF_DIGITS.items() if row.paper == "000"]
"""The variants that are trained with every optimiser and every schedule."""
HEAVY = [name for name, row in OF_DIGITS.items() if row.family in ("alexnet", "resnet", "resnet4")]
"""The variants that are trained on less."""
AUGMENTATIONS = get_variant("mlp").choices["augmentation"]


def make_replicas(
    variant: str | Variant, count: int, optimiser: str = "adam", schedule: str = "constant", **options: Value
) -> list[Replica]:
    """Up to seven, that differ in all that may differ in a chunk."""
    row = row_of(variant)
    pairs, batch_size = (HEAVY_PAIRS, HEAVY_BATCH_SIZE) if row.name in HEAVY else (PAIRS, BATCH_SIZE)
    hypers = make_hypers(
        row,
        count,
        batch_size,
        optimiser=optimiser,
        schedule=schedule,
        momentum=0.9 if optimiser == "sgd" else 0.0,
        lr_min=2e-4,
        restart_epochs=2,
        **options,
    )
    normalised = normalises(row.build(hypers[0].structure))
    if optimiser == "sgd" and not normalised:  # a step is as long as the gradient, which is short
        hypers = [replace(hyper, lr=10 * hyper.lr) for hyper in hypers]
    elif optimiser != "sgd" and normalised:
        # A normalisation takes a bias before it away again, which leaves nothing but rounding for its gradient; Adam
        # divides that by next to nothing, and losses differ by up to 1e-10. With weight decay for every replica, each
        # parameter has a gradient that is more than rounding, and they differ by up to 1e-12.
        hypers = [replace(hyper, weight_decay=hyper.weight_decay or 1e-4) for hyper in hypers]
    return [make_replica(index, hyper, samples=pairs, held_out=pairs) for index, hyper in enumerate(hypers)]


def cases() -> Iterator[tuple[str, str, str, int]]:
    """Variant, optimiser, schedule and number of replicas."""
    for variant in OF_DIGITS:
        ways = product(OPTIMISERS, SCHEDULES) if variant in EVERY_WAY else [("adam", "constant")]
        for (optimiser, schedule), count in product(ways, HEAVY_COUNTS if variant in HEAVY else COUNTS):
            yield variant, optimiser, schedule, count


@pytest.mark.parametrize(("variant", "optimiser", "schedule", "count"), [*cases()])
def test_together_equals_alone(splits: Splits, variant: str, optimiser: str, schedule: str, count: int) -> None:
    chunk = make_chunk(variant, make_replicas(variant, count, optimiser, schedule), keep_models=True)
    outcomes = splits.run(chunk)
    assert [outcome.epochs for outcome in outcomes] == [part.hyper.epochs for part in chunk.replicas]
    assert all(outcome.weights is not None for outcome in outcomes)
    splits.assert_equal_to_plain(chunk, outcomes)


@pytest.mark.parametrize("variant", OF_POINTS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_networks_of_points_train_together_as_an_ordinary_network_of_torch_alone(
    points: Splits, variant: str, schedule: str, count: int
) -> None:
    hypers = make_hypers(variant, count, 4, schedule=schedule, lr_min=2e-4, restart_epochs=2)
    replicas = [
        make_replica(index, replace(hyper, lr=20 * hyper.lr), samples=30, splits=POINTS)
        for index, hyper in enumerate(hypers)
    ]
    chunk = make_chunk(variant, replicas, keep_models=True)
    outcomes = points.run(chunk)
    assert len({outcome.epochs for outcome in outcomes}) == min(count, 3)
    points.assert_equal_to_plain(chunk, outcomes)


@pytest.mark.parametrize("variant", OF_ROWS.values(), ids=OF_ROWS)
@pytest.mark.parametrize("count", COUNTS)
def test_networks_of_features_train_together_as_each_alone(variant: Variant, count: int) -> None:
    splits = Splits(*ROWS[variant.task])
    replicas = [
        make_replica(index, hyper, samples=40, held_out=40, splits=ROWS[variant.task], read_at=(1,))
        for index, hyper in enumerate(make_hypers(variant, count, 6))
    ]
    chunk = make_chunk(variant, replicas, keep_models=True)
    outcomes = splits.run(chunk)
    splits.assert_equal_to_plain(chunk, outcomes)
    for outcome in outcomes:
        assert outcome.train_at[1].keys() == {metric.name for metric in variant.metrics}


@pytest.mark.parametrize(
    "variant",
    [name for name, row in OF_DIGITS.items() if row.task == "digits" or row.factors["ws"] == row.factors["al"]],
)
def test_normalisation_and_dropout_can_be_added_to_every_structure(splits: Splits, variant: str) -> None:
    # SGD: it does not enlarge the rounding in the gradient of a bias before a normalisation.
    replicas = make_replicas(variant, 3, "sgd", batch_norm=True, dropout=0.3)
    chunk = make_chunk(variant, replicas, keep_models=True)
    splits.assert_equal_to_plain(chunk, splits.run(chunk))


@pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet_al", "cnn5", "linear_digits"])
def test_a_replica_can_be_augmented_beside_one_that_is_not(splits: Splits, variant: str) -> None:
    replicas = [
        replace(part, hyper=replace(part.hyper, augmentation=AUGMENTATIONS[index % len(AUGMENTATIONS)]))
        for index, part in enumerate(make_replicas(variant, 6))
    ]
    chunk = make_chunk(variant, replicas, keep_models=True)
    splits.assert_equal_to_plain(chunk, splits.run(chunk))


@pytest.mark.parametrize("augmentation", [name for name in AUGMENTATIONS if name != "none"])
def test_augmented_images_are_other_ones_every_epoch(splits: Splits, augmentation: str) -> None:
    still = make_replica(0, make_hyper("mlp", lr=1e-12, batch_size=60))
    moving = replace(still, hyper=replace(still.hyper, augmentation=augmentation))
    same, others = splits.run(make_chunk("mlp", [still, moving]))
    assert np.ptp(same.curves["train_loss"]) < 1e-6
    assert len({round(loss, 6) for loss in others.curves["train_loss"]}) == 3


@pytest.mark.parametrize("variant", NOISY.values(), ids=NOISY)
class TestNormalisationAndDropout:
    @pytest.mark.parametrize("count", COUNTS)
    def test_together_equals_alone(self, splits: Splits, variant: Variant, count: int) -> None:
        replicas = make_replicas(variant, count)
        together = splits.run(make_chunk(variant, replicas, keep_models=True))
        alone = [splits.run(make_chunk(variant, [part], keep_models=True))[0] for part in replicas]
        for one, other in zip(together, alone, strict=True):
            assert_close(one, other)

    @pytest.mark.parametrize("optimiser", OPTIMISERS)
    def test_one_alone_equals_an_ordinary_loop_over_the_ordinary_module(
        self, splits: Splits, variant: Variant, optimiser: str
    ) -> None:
        chunk = make_chunk(variant, make_replicas(variant, 2, optimiser)[1:], keep_models=True)
        splits.assert_equal_to_plain(chunk, splits.run(chunk))

    def test_running_statistics_are_kept_with_the_weights(self, splits: Splits, variant: Variant) -> None:
        [part] = make_replicas(variant, 1)
        [outcome] = splits.run(make_chunk(variant, [part], keep_models=True))
        assert outcome.weights is not None
        network = variant.build()
        network.load_state_dict({name: torch.from_numpy(weight) for name, weight in outcome.weights.items()})
        counts = {name: int(value) for name, value in outcome.weights.items() if name.endswith("num_batches_tracked")}
        assert len(counts) >= 3
        steps = part.hyper.epochs * math.ceil(PAIRS / BATCH_SIZE)
        for name, count in counts.items():
            # A shared trunk reads one image after the other.
            assert count == steps * (2 if variant.factors["ws"] and name.startswith("trunks") else 1)


def assert_close(one: Outcome, other: Outcome, tolerance: float = 1e-9) -> None:
    assert (one.status, one.reason) == (other.status, other.reason)
    assert_curves_close(one.curves, other.curves, tolerance)
    assert one.train_at == other.train_at
    assert one.weights is not None
    assert other.weights is not None
    for name, weight in one.weights.items():
        np.testing.assert_allclose(weight, other.weights[name], rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet", "bncnn_ws_al", "linear_digits"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_in_bfloat16_training_goes_as_in_float32(splits: Splits, variant: str, optimiser: str) -> None:
    hyper = make_hyper(variant, lr=2e-2 if optimiser == "sgd" else 1e-3, epochs=6, optimiser=optimiser, momentum=0.9)
    chunk = make_chunk(variant, [make_replica(index, hyper) for index in range(2)], keep_models=True)
    rounded = splits.run(chunk, torch.float32, bfloat16=True)
    for one, other in zip(rounded, splits.run(chunk, torch.float32), strict=True):
        losses = [np.array(outcome.curves["train_loss"]) for outcome in (one, other)]
        assert losses[0][-1] < losses[0][0]
        assert 0 < np.abs(losses[0] - losses[1]).max() < 0.05
        np.testing.assert_allclose(one.curves["held_out_loss"], other.curves["held_out_loss"], atol=0.1)
        assert one.weights is not None
        weights = [torch.from_numpy(weight) for weight in one.weights.values() if weight.dtype.kind == "f"]
        assert {weight.dtype for weight in weights} == {torch.float32}
        assert any(weight.bfloat16().ne(weight).any() for weight in weights)

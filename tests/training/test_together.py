"""Replicas that train together equal replicas that train alone, whatever they train with.

In float64: in float32 Adam amplifies rounding, and equality would prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.models.registry import variants
from pipeline.models.variant import OPTIMISERS, SCHEDULES, Hyperparameters
from pipeline.training.plan import Outcome, Replica
from tests.training.conftest import Pools
from tests.training.models import NOISY
from tests.training.plans import make_chunk, make_hypers, make_replica

COUNTS = (1, 2, 7)
BATCH_SIZE, PAIRS = 8, 14
"""The last batch is a smaller one."""


def make_replicas(variant: str, optimiser: str = "adam", schedule: str = "constant") -> list[Replica]:
    """Seven, that differ in all that may differ in a chunk."""
    hypers = make_hypers(
        variant,
        max(COUNTS),
        BATCH_SIZE,
        optimiser=optimiser,
        schedule=schedule,
        momentum=0.9 if optimiser == "sgd" else 0.0,
        lr_min=2e-4,
        restart_epochs=2,
    )
    if optimiser == "sgd":  # where a step is as long as the gradient
        hypers = [replace(hyper, lr=10 * hyper.lr) for hyper in hypers]
    return [make_replica(index, hyper, pairs=PAIRS, held_out=10) for index, hyper in enumerate(hypers)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("variant", variants())
def test_together_equals_alone(pools: Pools, variant: str, optimiser: str, schedule: str, count: int) -> None:
    chunk = make_chunk(variant, make_replicas(variant, optimiser, schedule)[:count], keep_models=True)
    outcomes = pools.run(chunk)
    assert [len(outcome.train_loss_E) for outcome in outcomes] == [part.hyper.epochs for part in chunk.replicas]
    assert all(outcome.weights is not None for outcome in outcomes)
    pools.assert_equal_to_plain(chunk, outcomes)


@pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet_al"])
def test_a_replica_can_be_augmented_beside_one_that_is_not(pools: Pools, variant: str) -> None:
    replicas = [
        replace(part, hyper=replace(part.hyper, augmentation="crop_flip" if index % 3 else "none"))
        for index, part in enumerate(make_replicas(variant))
    ]
    chunk = make_chunk(variant, replicas, keep_models=True)
    pools.assert_equal_to_plain(chunk, pools.run(chunk))


def test_augmented_images_are_other_ones_every_epoch(pools: Pools) -> None:
    still = make_replica(0, Hyperparameters(lr=1e-12, batch_size=60, epochs=3))
    moving = replace(still, hyper=replace(still.hyper, augmentation="crop_flip"))
    same, others = pools.run(make_chunk("mlp", [still, moving]))
    assert np.ptp(same.train_loss_E) < 1e-6
    assert len(set(np.round(others.train_loss_E, 6))) == 3


@pytest.fixture
def noisy() -> Iterator[None]:
    """Variants with layers that no registered one has."""
    with pytest.MonkeyPatch.context() as patch:
        for name, variant in NOISY.items():
            patch.setitem(variants(), name, variant)
        yield


@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize("variant", NOISY)
class TestNormalisationAndDropout:
    @pytest.mark.parametrize("count", COUNTS)
    def test_together_equals_alone(self, pools: Pools, variant: str, count: int) -> None:
        replicas = make_replicas(variant)[:count]
        together = pools.run(make_chunk(variant, replicas, keep_models=True))
        alone = [pools.run(make_chunk(variant, [part], keep_models=True))[0] for part in replicas]
        for one, other in zip(together, alone, strict=True):
            assert_close(one, other)

    @pytest.mark.parametrize("optimiser", OPTIMISERS)
    def test_one_alone_equals_an_ordinary_loop_over_the_ordinary_module(
        self, pools: Pools, variant: str, optimiser: str
    ) -> None:
        chunk = make_chunk(variant, make_replicas(variant, optimiser)[1:2], keep_models=True)
        pools.assert_equal_to_plain(chunk, pools.run(chunk))

    def test_running_statistics_are_kept_with_the_weights(self, pools: Pools, variant: str) -> None:
        [part] = make_replicas(variant)[:1]
        [outcome] = pools.run(make_chunk(variant, [part], keep_models=True))
        assert outcome.weights is not None
        network = NOISY[variant].build()
        network.load_state_dict({name: torch.from_numpy(weight) for name, weight in outcome.weights.items()})
        counts = [value for name, value in outcome.weights.items() if name.endswith("num_batches_tracked")]
        assert len(counts) >= 3
        steps = part.hyper.epochs * math.ceil(PAIRS / BATCH_SIZE)
        assert {int(count) for count in counts} == {steps}


def assert_close(one: Outcome, other: Outcome, tolerance: float = 1e-9) -> None:
    assert (one.status, one.reason) == (other.status, other.reason)
    for name in ("train_loss_E", "train_error_E", "held_out_loss_E", "held_out_error_E"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), tolerance, tolerance, err_msg=name)
    assert one.train_error_at == other.train_error_at
    assert one.weights is not None
    assert other.weights is not None
    for name, weight in one.weights.items():
        np.testing.assert_allclose(weight, other.weights[name], rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("variant", ["mlp_ws_al", "convnet"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_in_bfloat16_training_goes_as_in_float32(pools: Pools, variant: str, optimiser: str) -> None:
    lr = 2e-2 if optimiser == "sgd" else 1e-3
    hyper = Hyperparameters(lr=lr, batch_size=20, epochs=6, optimiser=optimiser, momentum=0.9)
    chunk = make_chunk(variant, [make_replica(index, hyper) for index in range(2)], keep_models=True)
    rounded = pools.run(chunk, torch.float32, bfloat16=True)
    for one, other in zip(rounded, pools.run(chunk, torch.float32), strict=True):
        assert one.train_loss_E[-1] < one.train_loss_E[0]
        assert 0 < np.abs(one.train_loss_E - other.train_loss_E).max() < 0.05
        np.testing.assert_allclose(one.held_out_loss_E, other.held_out_loss_E, atol=0.1)
        assert one.weights is not None
        assert {weight.dtype for weight in one.weights.values()} == {np.dtype(np.float32)}
        assert any(
            torch.from_numpy(weight).bfloat16().ne(torch.from_numpy(weight)).any() for weight in one.weights.values()
        )

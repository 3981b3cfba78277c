"""Inputs are scaled by the numbers of their own replica."""

from __future__ import annotations

import pickle

import pytest
import torch
from sklearn.impute import SimpleImputer

from pipeline.models.transforms import (
    FILLS,
    Scale,
    StandardisedFeatures,
    Transforms,
    rows_of,
    standardised,
    standardised_features,
    unscaled,
)
from tests.models.networks import generator, noise


@pytest.mark.parametrize("shape", [(3, 40, 5), (3, 10, 2, 4, 4)], ids=["vectors", "images"])
def test_all_numbers_of_a_replica_have_mean_0_and_deviation_1(shape: tuple[int, ...]) -> None:
    x = 7 + 3 * noise(*shape)
    mean, std, _ = standardised(x)
    assert mean.shape == std.shape == (3, *[1] * (len(shape) - 1))
    for row in range(3):
        torch.testing.assert_close(mean[row].squeeze(), x[row].mean())
        torch.testing.assert_close(std[row].squeeze(), x[row].std())


def test_each_feature_of_a_replica_has_mean_0_and_deviation_1() -> None:
    x = noise(3, 40, 5) * torch.arange(1, 6)
    mean, std, _ = standardised_features(x)
    scaled = (x - mean) / std
    assert mean.shape == std.shape == (3, 1, 5)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(3, 5, dtype=torch.float64))
    torch.testing.assert_close(scaled.std(1), torch.ones(3, 5, dtype=torch.float64))


def test_a_constant_feature_is_only_shifted() -> None:
    mean, std, _ = standardised_features(torch.full((2, 4, 3), 5.0))
    assert torch.equal(mean, torch.full((2, 1, 3), 5.0))
    assert torch.equal(std, torch.ones(2, 1, 3))


def test_a_configuration_chooses_among_the_names() -> None:
    both = Transforms(
        scalings={"standardised": standardised, "by_feature": standardised_features},
        augmentations={"still": lambda x, _zero, _generator: x},
    )
    assert both.choices == {"augmentation": ("none", "still"), "inputs": ("standardised", "by_feature")}
    assert Transforms().choices == {"augmentation": ("none",), "inputs": ("standardised",)}


def with_holes() -> torch.Tensor:
    """(2, 9, 4): some numbers are missing, of the last feature of the second replica all."""
    x = torch.randint(4, (2, 9, 4), generator=generator(3)).double()
    x[torch.rand(x.shape, generator=generator(4)) < 0.3] = torch.nan
    x[:, :, 0] = 7.0
    x[0, 2, 0] = torch.nan
    x[1, :, 3] = torch.nan
    return x


@pytest.mark.parametrize("impute", FILLS)
def test_missing_numbers_are_filled_in_as_scikit_learn_does(impute: str) -> None:
    x = with_holes()
    scale = StandardisedFeatures(impute)(x)
    assert pickle.loads(pickle.dumps(StandardisedFeatures(impute))) == StandardisedFeatures(impute)
    scaled = scale.apply_(x.clone())
    for row in range(2):
        imputer = SimpleImputer(strategy=impute, keep_empty_features=True)
        filled = torch.from_numpy(imputer.fit_transform(x[row].numpy()))
        known = filled - filled.mean(0)
        expected = torch.where(filled.std(0) > 0, known / filled.std(0), 0.0)
        torch.testing.assert_close(scaled[row], expected)


def test_a_feature_that_is_constant_in_training_is_0_everywhere() -> None:
    scale = StandardisedFeatures()(with_holes().float())
    held_out = torch.full((2, 3, 4), 123.0)
    held_out[:, 0] = torch.nan
    found = scale.apply_(held_out)
    assert not found[:, :, 0].any()
    assert not found[1, :, 3].any()
    assert found.isfinite().all()
    thirds = torch.full((1, 7, 1), 1 / 3)  # whose mean is rounded
    assert StandardisedFeatures()(thirds).std.item() == torch.inf


def test_inputs_may_stay_as_they_are() -> None:
    x = noise(2, 5, 3)
    assert torch.equal(unscaled(x).apply_(x.clone()), x)
    assert unscaled(torch.zeros(2, 5, 3, 4, 4)).mean.shape == (2, 1, 1, 1, 1)


def test_replicas_may_be_scaled_each_in_its_own_way() -> None:
    x = with_holes()
    plain, filled = unscaled(x), StandardisedFeatures("median")(x)
    together = rows_of([filled, plain])
    assert torch.equal(together.apply_(x.clone())[0], filled.apply_(x.clone())[0])
    torch.testing.assert_close(together.apply_(x.clone())[1], x[1], equal_nan=True)
    assert rows_of([plain, plain]).fill is None
    assert isinstance(together, Scale)

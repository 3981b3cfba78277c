"""Inputs are scaled by the numbers of their own replica."""

from __future__ import annotations

import pytest
import torch

from pipeline.models.transforms import Transforms, standardised, standardised_features
from tests.models.networks import noise


@pytest.mark.parametrize("shape", [(3, 40, 5), (3, 10, 2, 4, 4)], ids=["vectors", "images"])
def test_all_numbers_of_a_replica_have_mean_0_and_deviation_1(shape: tuple[int, ...]) -> None:
    x = 7 + 3 * noise(*shape)
    mean, std = standardised(x)
    assert mean.shape == std.shape == (3, *[1] * (len(shape) - 1))
    for row in range(3):
        torch.testing.assert_close(mean[row].squeeze(), x[row].mean())
        torch.testing.assert_close(std[row].squeeze(), x[row].std())


def test_each_feature_of_a_replica_has_mean_0_and_deviation_1() -> None:
    x = noise(3, 40, 5) * torch.arange(1, 6)
    mean, std = standardised_features(x)
    scaled = (x - mean) / std
    assert mean.shape == std.shape == (3, 1, 5)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(3, 5, dtype=torch.float64))
    torch.testing.assert_close(scaled.std(1), torch.ones(3, 5, dtype=torch.float64))


def test_a_constant_feature_is_only_shifted() -> None:
    mean, std = standardised_features(torch.full((2, 4, 3), 5.0))
    assert torch.equal(mean, torch.full((2, 1, 3), 5.0))
    assert torch.equal(std, torch.ones(2, 1, 3))


def test_a_configuration_chooses_among_the_names() -> None:
    both = Transforms(
        scalings={"standardised": standardised, "by_feature": standardised_features},
        augmentations={"still": lambda x, _zero, _generator: x},
    )
    assert both.choices == {"augmentation": ("none", "still"), "inputs": ("standardised", "by_feature")}
    assert Transforms().choices == {"augmentation": ("none",), "inputs": ("standardised",)}

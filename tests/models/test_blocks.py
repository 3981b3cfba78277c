"""Hidden layers stand in their order, and residual blocks add what they convolve."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.blocks import LAYER_OPTIONS, Layers, ResidualBlock, residual_blocks, with_layers
from pipeline.models.hyperparameters import Hyperparameters
from tests.models.networks import layers_of, noise


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_residual_block_passes_on_its_input_if_its_convolutions_give_nothing(batch_norm: bool) -> None:
    [block] = residual_blocks(Layers(batch_norm), blocks=1, channels=3, kernel=5)
    for parameter in block.double().parameters():
        nn.init.zeros_(parameter)
    x = noise(4, 3, 14, 14)
    assert torch.equal(block(x), x.relu())


def test_a_residual_block_adds_its_convolutions_to_its_input() -> None:
    [block] = residual_blocks(Layers(), blocks=1, channels=3, kernel=3)
    assert isinstance(block.double(), ResidualBlock)
    x = noise(4, 3, 14, 14)
    first, second = layers_of(block, nn.Conv2d)
    convolved: Tensor = second(first(x).relu())
    torch.testing.assert_close(block(x), (convolved + x).relu(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("batch_norm", "dropout"), [(False, 0.0), (True, 0.4)])
def test_layers_stand_in_the_order_that_they_are_described_in(batch_norm: bool, dropout: float) -> None:
    layers = Layers(batch_norm, dropout)
    dense = [nn.Linear, *[nn.BatchNorm1d] * batch_norm, nn.ReLU, *[nn.Dropout] * bool(dropout)]
    conv = [nn.Conv2d, *[nn.BatchNorm2d] * batch_norm, nn.MaxPool2d, nn.ReLU]
    assert [type(layer) for layer in layers.dense(3, 2)] == dense
    assert [type(layer) for layer in layers.conv(3, 2, 3, pool=2)] == conv


def test_a_preset_without_options_of_layers_has_them_off_before_its_own() -> None:
    preset = Hyperparameters(lr=1e-3, batch_size=25, epochs=25, structure=(("nodes", 16), ("dropout", 0.4)))
    assert with_layers(preset).structure == (("batch_norm", False), ("dropout", 0.4), ("nodes", 16))
    assert [option.name for option in LAYER_OPTIONS] == ["batch_norm", "dropout"]

"""A trained model as others use it: plain inputs in, probabilities out, without this package."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline import mini
from pipeline.models.hyperparameters import Structure
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant


class Exported(nn.Module):
    """Standardises its inputs as in training and returns the outputs as probabilities."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, objective: Objective, *, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        """Grey values 0 to 255 (B, 2, 14, 14), or points (B, 2) -> what `Objective.probabilities` says."""
        return self.objective.probabilities(self.network((x - self.mean) / self.std))


def trained_network(variant: Variant, structure: Structure, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of one replica as an ordinary module, with these weights."""
    network = variant.build(structure)
    if isinstance(network, mini.Sequential):
        network, weights = _as_torch(network, weights)
    network.load_state_dict(weights)
    module: nn.Module = network
    return module


def _as_torch(network: mini.Sequential, weights: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """The same layers in torch, whose weights are (outputs, inputs)."""
    layers: list[nn.Module] = []
    for layer in network.layers:
        if isinstance(layer, mini.Linear):
            layers.append(nn.Linear(layer.inputs, layer.outputs, bias=layer.bias is not None))
        else:
            layers.append({mini.ReLU: nn.ReLU, mini.Tanh: nn.Tanh}[type(layer)]())
    return nn.Sequential(*layers), {
        name: tensor.T if name.endswith("weight") else tensor for name, tensor in weights.items()
    }


DESCRIPTIONS = {
    "pairs": "P(first > second), P(first <= second) of two 14x14 digits, grey values 0 to 255",
    "digits": "P(digit 0 to 9) of each of two 14x14 digits, grey values 0 to 255, to be compared by arithmetic",
    "points": "above 0 for a point (x, y) of the unit square inside of the disc, below 0 outside",
}
"""What the model of a task gives."""

"""A trained model as others use it: plain inputs in, probabilities or values out, without this package."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pipeline.models.hyperparameters import Structure
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant


class Exported(nn.Module):
    """Scales its inputs as in training, and returns what `Objective.serve` makes of the outputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, objective: Objective, *, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (B, ...) as they are in the data set."""
        return self.objective.serve(self.network((x - self.mean) / self.std))


def trained_network(variant: Variant, structure: Structure, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of one replica as an ordinary module, with these weights."""
    network = variant.build(structure)
    network.load_state_dict(weights)
    return network

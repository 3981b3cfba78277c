"""A trained model as others use it: plain inputs in, probabilities or values out, without this package."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.models.hyperparameters import Structure
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant


class Exported(nn.Module):
    """Scales its inputs as in training, and returns what `Objective.serve` makes of the outputs."""

    mean: Tensor | None
    std: Tensor | None
    fill: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        mean: Tensor | None = None,
        std: Tensor | None = None,
        fill: Tensor | None = None,
    ) -> None:
        """`fill` stands for missing numbers before they are scaled; without `mean` and `std` inputs are indices."""
        super().__init__()
        self.network = network
        self.objective = objective
        for name, tensor in (("mean", mean), ("std", std), ("fill", fill)):
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (B, ...) as they are in the data set; whole numbers may be given as such or not."""
        if self.mean is None or self.std is None:
            return self.objective.serve(self.network(x.long()))
        if self.fill is not None:
            x = torch.where(x.isnan(), self.fill, x)
        return self.objective.serve(self.network((x - self.mean) / self.std))


def trained_network(variant: Variant, structure: Structure, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of one replica as an ordinary module, with these weights."""
    network = variant.build(structure)
    network.load_state_dict(weights)
    return network

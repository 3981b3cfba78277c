"""A family that is not registered: normalisation and dropout on feature maps and on vectors, in every manner.

A normalisation takes away what a layer before it only shifts; a parameter with such an effect alone would have nothing
but rounding for a gradient, which Adam would enlarge. So there is none.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import TrunksAndHead, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import TwoLogits


def trunk(_layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.2), nn.MaxPool2d(4)),
        *(nn.Flatten(), nn.Linear(36, 24, bias=False), nn.BatchNorm1d(24), nn.Sigmoid(), nn.Dropout(0.5)),
        digit_scores(24),
    )


def head(_layers: Layers) -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(
        *(nn.Tanh(), nn.Dropout(0.1), nn.Linear(20, 10, bias=False), nn.BatchNorm1d(10, affine=False)),
        *(nn.ReLU(), nn.Linear(10, 2)),
    )


NOISY = {
    variant.name: variant
    for variant in pair_family(
        "noisy",
        paper="",
        source="",
        preset=Hyperparameters(lr=1e-3, batch_size=12, epochs=3),
        network=TrunksAndHead(trunk, head),
        objective=TwoLogits,
    )
}

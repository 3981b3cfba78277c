"""A family that is not registered: batch normalisation and dropout on feature maps and on vectors.

A normalisation takes away what a layer before it only shifts; a parameter with such an effect alone would have nothing
but rounding for a gradient, and Adam would make steps of it. So there is none.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.parts import digit_scores, pair_family


def trunk() -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.2), nn.MaxPool2d(4)),
        *(nn.Flatten(), nn.Linear(36, 24, bias=False), nn.BatchNorm1d(24), nn.Sigmoid(), nn.Dropout(0.5)),
        digit_scores(24),
    )


def head() -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(
        *(nn.Tanh(), nn.Dropout(0.1), nn.Linear(20, 10, bias=False), nn.BatchNorm1d(10, affine=False)),
        *(nn.ReLU(), nn.Linear(10, 2)),
    )


NOISY = {
    variant.name: variant
    for variant in pair_family("noisy", trunk=trunk, head=head, source="", lr=1e-3, batch_size=12, epochs=3)
}

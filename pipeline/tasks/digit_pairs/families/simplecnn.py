"""Report 002, simple CNN: two convolutions and one fully connected layer that scores the ten digits.

Trunk: conv(1, 32, 3), conv(32, 64, 3), each with 2x2 max pooling and ReLU, then 256-10; `simplecnn_digits` is this
trunk alone, and the pair models add one fully connected layer, 20-2. Adam at 1e-3, batch 1000, 200 epochs, alpha 1
(its losses are added), 15 rounds; its images are reduced by max pooling (`--pooling max`). Not given in the report:
channels, kernels and the pooling between them (those of report 000's ConvNet); whether its batch of 1000 means digits
or pairs (here pairs; for `simplecnn_digits` 1000 digits, which are 500 pairs); and whether a ReLU stands on the digit
scores before the last layer. Here one does: on full MNIST at these settings plain / ws / al / ws_al give 16.9 / 15.8 /
14.7 / 13.3 % with it (15 rounds) and 16.6 / 15.3 / 16.2 / 16.0 % without it (6 rounds); the report has 17.7 / 13.2 /
15.7 / 13.1 %.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import (
    SCORE_RELU,
    PairLayers,
    TrunksAndHead,
    digit_scores,
    digit_variant,
    pair_family,
)
from pipeline.tasks.digit_pairs.objectives import TwoLogits


def trunk(layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(
        *layers.conv(1, 32, 3, pool=2),
        *layers.conv(32, 64, 3, pool=2),
        *(nn.Flatten(), *layers.drop(), digit_scores(256)),
    )


def head(layers: PairLayers) -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(*layers.after_scores(), nn.Linear(20, 2))


PRESET = Hyperparameters(lr=1e-3, batch_size=1000, epochs=200)
VARIANTS = [
    digit_variant(
        "simplecnn",
        paper="002",
        source=__doc__,
        preset=PRESET.replaced({"batch_size": 500}),
        network=trunk,
    ),
    *pair_family(
        "simplecnn",
        paper="002",
        source=__doc__,
        preset=replace(PRESET, structure=(("score_relu", True),)),
        options=(SCORE_RELU,),
        network=TrunksAndHead(trunk, head),
        objective=TwoLogits,
    ),
]

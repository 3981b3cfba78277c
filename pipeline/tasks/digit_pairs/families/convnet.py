"""Report 000, ConvNet: two blocks of 3x3 convolution, 2x2 max pooling and ReLU, then fully connected layers.

Trunk: conv(1, 32), conv(32, 64), 256-200-10 (72,226 parameters); head 20-10-2 (232). Adam at 1e-3, 50 epochs, batch
100. Not given in the report: the 200 units (what its parameter counts leave), the weight of the auxiliary loss (1),
the pooling of the images, and whether a ReLU stands on the digit scores before the head. Here none does. On full MNIST
at these settings (20 rounds), plain / ws / al / ws_al give 16.3 / 14.7 / 12.2 / 10.9 % without it and 16.2 / 14.9 /
10.5 / 9.3 % with it; the report's 18.0 / 15.0 / 12.0 / 13.3 % are nearer to the former.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import SCORE_RELU, PairLayers, TrunksAndHead, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import TwoLogits


def trunk(layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(
        *layers.conv(1, 32, 3, pool=2),
        *layers.conv(32, 64, 3, pool=2),
        *(nn.Flatten(), *layers.dense(256, 200), digit_scores(200)),
    )


def head(layers: PairLayers) -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(*layers.after_scores(), *layers.dense(20, 10), nn.Linear(10, 2))


VARIANTS = pair_family(
    "convnet",
    paper="000",
    source=__doc__,
    preset=Hyperparameters(lr=1e-3, batch_size=100, epochs=50, structure=(("score_relu", False),)),
    options=(SCORE_RELU,),
    network=TrunksAndHead(trunk, head),
    objective=TwoLogits,
)

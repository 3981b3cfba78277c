"""Report 003, CNN: two convolutions and three fully connected layers.

`cnn5` reads both images as two channels: conv(2, 32, 3), conv(32, 64, 3), each with 2x2 max pooling and ReLU, then
256-200-10-2 (72,536 parameters); the others have trunks conv(1, 32, 3), conv(32, 64, 3), 256-200-10 and a head 20-2:
one shared trunk (72,268) or two (144,494). Binary cross-entropy on two sigmoid outputs, Adam, 25 epochs, 10 rounds;
learning rate, batch size and alpha of each variant from its Table I. Not given in the report: kernels and pooling
(those that give its parameter counts), and what stands between the ten scores and the head. Here a ReLU does.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import TrunksAndHead, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import TwoSigmoids


def features(layers: Layers, channels: int) -> list[nn.Module]:
    """(N, channels, 14, 14) -> (N, 200)."""
    return [
        *layers.conv(channels, 32, 3, pool=2),
        *layers.conv(32, 64, 3, pool=2),
        *(nn.Flatten(), *layers.dense(256, 200)),
    ]


def trunk(layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(*features(layers, 1), digit_scores(200))


def head(_layers: Layers) -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(nn.ReLU(), nn.Linear(20, 2))


def plain(layers: Layers) -> nn.Module:
    """(N, 2, 14, 14) -> (N, 2)."""
    return nn.Sequential(*features(layers, 2), *layers.dense(200, 10), nn.Linear(10, 2))


VARIANTS = pair_family(
    "cnn5",
    paper="003",
    source=__doc__,
    preset=Hyperparameters(lr=5e-4, batch_size=16, epochs=25),
    chosen=[(5e-4, 16, 0), (1e-3, 16, 0), (5e-4, 8, 1.0), (5e-3, 32, 0.6)],
    network=TrunksAndHead(trunk, head, plain=plain),
    objective=TwoSigmoids,
)

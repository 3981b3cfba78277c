"""Report 001, AlexNet on single digits: five convolutions and three fully connected layers, for 14x14 images.

conv(1, 32), conv(32, 96), each with 2x2 max pooling, conv(96, 192), conv(192, 128), conv(128, 128), all 3x3 and padded
to keep their size, then 1152-672-672-10, ReLU between: half of AlexNet's channels, and as many nodes as come to 1.8
million parameters (1,796,842; the report says "about 1,8M"). The report tried no other structure. SGD, cross-entropy,
25 epochs, 20 repetitions. Not given in the report: all sizes, learning rate and momentum (0.05 and 0.9 here), batch
size (25 pairs, which are 50 digits), and whether it kept AlexNet's dropout, which is off here.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import digit_scores, digit_variant


def network(layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(
        *layers.conv(1, 32, 3, padding=1, pool=2),
        *layers.conv(32, 96, 3, padding=1, pool=2),
        *layers.conv(96, 192, 3, padding=1),
        *layers.conv(192, 128, 3, padding=1),
        *layers.conv(128, 128, 3, padding=1),
        *(nn.Flatten(), *layers.dense(1152, 672), *layers.dense(672, 672), digit_scores(672)),
    )


VARIANTS = [
    digit_variant(
        "alexnet",
        paper="001",
        source=__doc__,
        preset=Hyperparameters(lr=0.05, batch_size=25, epochs=25, optimiser="sgd", momentum=0.9),
        network=network,
    )
]

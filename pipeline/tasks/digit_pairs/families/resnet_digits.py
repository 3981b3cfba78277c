"""Report 001, ResNet on single digits: a convolution, residual blocks and one fully connected layer.

conv(1, 16, 7), two blocks of two such convolutions with a shortcut around them, batch normalisation after every
convolution, average pooling of the whole map, fc 16-10 (51,370 parameters; the report says "about 50,000"). The
structure was chosen from batch normalisation {on, off}, dropout {on, off}, blocks {1, 2, 3, 4, 5}, channels {1, 2, 4,
8, 16} and kernel {3, 5, 7}. SGD, cross-entropy, 25 epochs, 20 repetitions. Not given in the report: the pooling,
learning rate and momentum (0.02 and 0.9 here; of 0.02, 0.01 and 0.005 it has the least validation error), batch size
(25 pairs, which are 50 digits), and where dropout stands (before the last layer) with which probability.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers, residual_blocks
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.tasks.digit_pairs.networks import KERNEL, digit_scores, digit_variant


def network(layers: Layers, *, blocks: int, channels: int, kernel: int) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(
        *layers.conv(1, channels, kernel, padding=kernel // 2),
        *residual_blocks(layers, blocks=blocks, channels=channels, kernel=kernel),
        *(nn.AvgPool2d(14), nn.Flatten(), *layers.drop(), digit_scores(channels)),
    )


VARIANTS = [
    digit_variant(
        "resnet",
        paper="001",
        source=__doc__,
        preset=Hyperparameters(
            lr=0.02,
            batch_size=25,
            epochs=25,
            optimiser="sgd",
            momentum=0.9,
            structure=(("batch_norm", True), ("blocks", 2), ("channels", 16), ("kernel", 7)),
        ),
        options=(
            Option(name="blocks", kind=int, low=1, high=20, meaning="number of residual blocks"),
            Option(name="channels", kind=int, low=1, high=512, meaning="channels of every convolution"),
            KERNEL,
        ),
        network=network,
    )
]

"""Report 004, CNN: convolutions with batch normalisation, and dropout before the last layer.

`bncnn` reads both images as two channels: conv(2, 32, 3), conv(32, 64, 3), each with batch normalisation, 2x2 max
pooling and ReLU, then dropout 0.4 and one logit from the 256 features. `bncnn_al` adds an auxiliary classifier of 20
outputs on the same features. `bncnn_ws` reads one image after the other through the same convolutions and a layer of
ten outputs, and compares the twenty; `bncnn_ws_al` adds an auxiliary classifier of ten outputs to the features of each
image. Binary cross-entropy on one logit; Adam at 1e-3 with weight decay 0.01, cosine annealing with warm restarts
every 5 epochs down to 1e-4, alpha 0.8, 25 epochs, 10 runs. Not given in the report: channels and kernels (its drawings
are lost), the batch size (25 here), and what compares the twenty outputs (here a hidden layer of 100).
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.tasks.digit_pairs.normalised import normalised_family


def features(layers: Layers, channels: int) -> nn.Module:
    """(N, channels, 14, 14) -> (N, 256)."""
    return nn.Sequential(*layers.conv(channels, 32, 3, pool=2), *layers.conv(32, 64, 3, pool=2), nn.Flatten())


VARIANTS = normalised_family("bncnn", source=__doc__, features=features, width=256, before_last=Layers.drop)

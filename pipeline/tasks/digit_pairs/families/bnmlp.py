"""Report 004, MLP: fully connected layers with batch normalisation and dropout.

`bnmlp` reads both images as one vector: 392-256-128-1. Batch normalisation after every layer but the last, dropout 0.4
after every hidden layer, binary cross-entropy on one logit; Adam at 1e-3 with weight decay 0.01, cosine annealing with
warm restarts every 5 epochs down to 1e-4, alpha 0.8 where there is an auxiliary loss, 25 epochs, 10 runs. Not given in
the report: the widths (its drawings are lost) and the batch size (25 here). The report has the plain variant alone;
the other three are made of it as those of `bncnn` are.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.tasks.digit_pairs.normalised import normalised_family


def features(layers: Layers, channels: int) -> nn.Module:
    """(N, channels, 14, 14) -> (N, 128)."""
    return nn.Sequential(nn.Flatten(), *layers.dense(196 * channels, 256), *layers.dense(256, 128))


VARIANTS = normalised_family("bnmlp", source=__doc__, features=features, width=128)

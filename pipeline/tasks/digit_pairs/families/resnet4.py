"""Report 003, ResNet: a convolution and four residual blocks of 32 channels.

`resnet4` reads both images as two channels: conv(2, 32, 3), blocks of two 3x3 convolutions with a shortcut around
them, batch normalisation after every convolution, 4x4 average pooling, fc 288-2 (75,746 parameters). The others read
one image: fc 288-10 and a head 20-2 (77,812); `resnet4_al` has the convolutions twice, but its two trunks share fc
288-10 (152,692). Binary cross-entropy on two sigmoid outputs, Adam, 25 epochs, 10 rounds; learning rate, batch size
and alpha of each variant from its Table I. Not given in the report: what stands between the ten scores and the head.
Here a ReLU does.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers, residual_blocks
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import JointModel, PairModel, SharedTrunk, TwoTrunks, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import TwoSigmoids


def trunk(layers: Layers, channels: int, last: nn.Linear) -> nn.Module:
    """(N, channels, 14, 14) -> (N, outputs of the last layer)."""
    return nn.Sequential(
        *layers.conv(channels, 32, 3, padding=1),
        *residual_blocks(layers, blocks=4, channels=32, kernel=3),
        *(nn.AvgPool2d(4), nn.Flatten(), *layers.drop(), last),
    )


def network(layers: Layers, weight_sharing: bool, auxiliary_loss: bool) -> nn.Module:
    """One of the four."""
    if not (weight_sharing or auxiliary_loss):
        return JointModel(trunk(layers, 2, nn.Linear(288, 2)))
    last = digit_scores(288)
    first = trunk(layers, 1, last)
    trunks = SharedTrunk(first) if weight_sharing else TwoTrunks(first, trunk(layers, 1, last))
    return PairModel(trunks, nn.Sequential(nn.ReLU(), nn.Linear(20, 2)))


VARIANTS = pair_family(
    "resnet4",
    paper="003",
    source=__doc__,
    preset=Hyperparameters(lr=1e-3, batch_size=16, epochs=25, structure=(("batch_norm", True),)),
    chosen=[(1e-3, 16, 0), (1e-3, 16, 0), (1e-3, 64, 0.7), (1e-3, 16, 0.8)],
    network=network,
    objective=TwoSigmoids,
)

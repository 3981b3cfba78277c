"""Report 000, MLP: three fully connected layers on each image, two more on both.

Trunk 196-256-128-10 (84,618 parameters), head 20-100-2 (2,302), ReLU between. Adam at 1e-3, 25 epochs, batch 25. Not
given in the report: the width of the second layer (128 is what its parameter counts leave), the weight of the
auxiliary loss (1), the pooling, and whether a ReLU stands on the digit scores before the head. Here one does: in an
independent check on full MNIST at these settings (10 rounds) plain / ws / al / ws_al gave 18.0 / 15.2 / 9.2 / 7.9 %
with it and 17.6 / 15.2 / 12.4 / 11.2 % without it; the report has 18.3 / 14.9 / 10.0 / 9.9 %.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import SCORE_RELU, PairLayers, TrunksAndHead, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import TwoLogits


def trunk(layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(nn.Flatten(), *layers.dense(196, 256), *layers.dense(256, 128), digit_scores(128))


def head(layers: PairLayers) -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(*layers.after_scores(), *layers.dense(20, 100), nn.Linear(100, 2))


VARIANTS = pair_family(
    "mlp",
    paper="000",
    source=__doc__,
    preset=Hyperparameters(lr=1e-3, batch_size=25, epochs=25, structure=(("score_relu", True),)),
    options=(SCORE_RELU,),
    network=TrunksAndHead(trunk, head),
    objective=TwoLogits,
)

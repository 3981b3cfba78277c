"""Report 003, MLP: three fully connected layers.

`mlp3` reads both images as one vector, 392-160-64-2 (73,314 parameters); the others have trunks 196-160-10 and a head
20-2: one shared trunk (33,172) or two (66,302). Binary cross-entropy on two sigmoid outputs, Adam, 25 epochs, 10
rounds; learning rate, batch size and alpha of each variant from its Table I. Not given in the report: what stands
between the ten scores and the head. Here a ReLU does, as after its other hidden layers.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.digit_pairs.networks import TrunksAndHead, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import TwoSigmoids


def trunk(layers: Layers) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    return nn.Sequential(nn.Flatten(), *layers.dense(196, 160), digit_scores(160))


def head(_layers: Layers) -> nn.Module:
    """(N, 20) -> (N, 2)."""
    return nn.Sequential(nn.ReLU(), nn.Linear(20, 2))


def plain(layers: Layers) -> nn.Module:
    """(N, 2, 14, 14) -> (N, 2)."""
    return nn.Sequential(nn.Flatten(), *layers.dense(392, 160), *layers.dense(160, 64), nn.Linear(64, 2))


VARIANTS = pair_family(
    "mlp3",
    paper="003",
    source=__doc__,
    preset=Hyperparameters(lr=5e-4, batch_size=8, epochs=25),
    chosen=[(5e-4, 8, 0), (5e-3, 8, 0), (5e-3, 16, 0.9), (5e-3, 8, 0.7)],
    network=TrunksAndHead(trunk, head, plain=plain),
    objective=TwoSigmoids,
)

"""Report 001, linear network on single digits: hidden layers of equal width.

196-128-128-10 (43,018 parameters; the report prints 42,018), ReLU between, no dropout; the structure was chosen from
nodes {16, 32, 64, 128, 264}, layers {1, 2, 3, 5} and dropout {on, off}. Adam ("SGD for each network except for the
linear one"), cross-entropy, 25 epochs, 20 repetitions. Not given in the report: learning rate (1e-3 here), batch size
(25 pairs, which are 50 digits), the probability of dropout (0.5 in the spaces), and batch normalisation, which is off.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.tasks.digit_pairs.networks import digit_scores, digit_variant


def network(layers_: Layers, *, nodes: int, layers: int) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10)."""
    widths = [196, *[nodes] * layers]
    hidden = [layer for inputs in pairwise(widths) for layer in layers_.dense(*inputs)]
    return nn.Sequential(nn.Flatten(), *hidden, digit_scores(nodes))


VARIANTS = [
    digit_variant(
        "linear",
        paper="001",
        source=__doc__,
        preset=Hyperparameters(lr=1e-3, batch_size=25, epochs=25, structure=(("nodes", 128), ("layers", 2))),
        options=(
            Option(name="nodes", kind=int, low=1, high=4096, meaning="width of every hidden layer"),
            Option(name="layers", kind=int, low=1, high=20, meaning="number of hidden layers"),
        ),
        network=network,
    )
]

"""Report 004, part 2: a network of the mini framework, which tells points inside of a disc from points outside.

2-25-25-25-1 with ReLU between and Tanh at the end, mean squared error against 1 and -1, SGD with batch 1, 50 epochs,
10 runs of 1,000 points. Forward and backward passes are those of `pipeline.tasks.disc.mini`, without autograd. Not
given in the report: the layers (its drawing is lost; these are the widths that its course uses), the learning rate
(0.001 here: of 0.001, 0.003, 0.01 and 0.03 it has the least validation error), and what the "bias 0.5" of its best run
means. Initial weights are uniform in +-1/sqrt(fan in).
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.models.variant import Variant
from pipeline.tasks.disc.objective import Square
from pipeline.tasks.disc.step import MiniStep


def network(*, nodes: int, layers: int) -> nn.Module:
    """(N, 2) -> (N, 1): what the mini framework trains, as torch has it."""
    widths = [2, *[nodes] * layers]
    hidden = [layer for inputs, outputs in pairwise(widths) for layer in (nn.Linear(inputs, outputs), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(nodes, 1), nn.Tanh())


VARIANTS = (
    Variant(
        name="disc_mlp",
        family="disc_mlp",
        task="points",
        title="tells points inside of a disc from points outside",
        paper="004",
        source=__doc__,
        factors={"ws": False, "al": False},
        objective=Square(),
        input_shape=(2,),
        preset=Hyperparameters(
            lr=0.001, batch_size=1, epochs=50, optimiser="sgd", structure=(("nodes", 25), ("layers", 3))
        ),
        options=(
            Option(name="nodes", kind=int, low=1, high=4096, meaning="width of every hidden layer"),
            Option(name="layers", kind=int, low=1, high=20, meaning="number of hidden layers"),
        ),
        fixed=frozenset({"optimiser", "momentum", "weight_decay", "augmentation", "inputs"}),
        make=network,
        make_step=MiniStep,
    ),
)

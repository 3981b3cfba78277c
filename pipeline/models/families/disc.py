"""Report 004, part 2: a network of the mini framework, which tells points inside of a disc from points outside.

2-25-25-25-1 with ReLU between and Tanh at the end, mean squared error against 1 and -1, SGD with batch 1, 50 epochs,
10 runs of 1,000 points. Forward and backward passes are those of `pipeline.mini`, without autograd. Not given in the
report: the layers (its drawing is lost; these are the widths that its course uses), the learning rate (0.001 here: of
0.001, 0.003, 0.01 and 0.03 it has the least validation error), and what the "bias 0.5" of its best run means. Initial
weights are uniform in +-1/sqrt(fan in).
"""

from __future__ import annotations

from itertools import pairwise

from pipeline import mini
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.models.objectives import Square
from pipeline.models.variant import Variant


def network(*, nodes: int, layers: int) -> mini.Sequential:
    """(N, 2) -> (N, 1)."""
    widths = [2, *[nodes] * layers]
    hidden = [layer for inputs, outputs in pairwise(widths) for layer in (mini.Linear(inputs, outputs), mini.ReLU())]
    return mini.Sequential(*hidden, mini.Linear(nodes, 1), mini.Tanh())


VARIANTS = [
    Variant(
        name="disc_mlp",
        arch="disc_mlp",
        report="004",
        source=__doc__,
        task="points",
        objective=Square(),
        preset=Hyperparameters(
            lr=0.001, batch_size=1, epochs=50, optimiser="sgd", structure=(("nodes", 25), ("layers", 3))
        ),
        options=(
            Option(name="nodes", kind=int, low=1, high=4096, meaning="width of every hidden layer"),
            Option(name="layers", kind=int, low=1, high=20, meaning="number of hidden layers"),
        ),
        fixed=frozenset({"optimiser", "momentum", "weight_decay", "augmentation", "inputs"}),
        make=network,
    )
]

"""Report 001, LeNet on single digits: two convolutions with pooling, three fully connected layers.

conv(1, 16, 5), conv(16, 32, 5), each padded to keep its size, with batch normalisation, 2x2 max pooling and ReLU, then
288-120-84-10; an auxiliary classifier on the first feature map (3x3 average pooling, 64-10) predicts the same digit,
as in Inception. The structure was chosen from batch normalisation {on, off}, dropout {on, off}, kernel {3, 5} and
auxiliary classifier {on, off}. SGD, cross-entropy, 25 epochs, 20 repetitions. Not given in the report: the channels
(16 and 32 come to 60,096 parameters where it says "about 60,000"), the auxiliary classifier (it says "between the
second and third convolutional layers" of a network that has two) and its weight (0.3, as in Inception), learning rate
and momentum (0.05 and 0.9 here), batch size (25 pairs, which are 50 digits) and the probability of dropout.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.tasks.digit_pairs.networks import KERNEL, digit_scores, digit_variant


class LeNet(nn.Module):
    """Scores of the digit, and those of the auxiliary classifier if there is one."""

    def __init__(self, first: nn.Module, rest: nn.Module, auxiliary: nn.Module | None) -> None:
        super().__init__()
        self.first = first
        self.rest = rest
        self.auxiliary = auxiliary

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, 1, 14, 14) -> (N, 10), once or twice."""
        features = self.first(x)
        scores: Tensor = self.rest(features)
        return scores if self.auxiliary is None else (scores, self.auxiliary(features))


def network(layers: Layers, *, kernel: int, auxiliary: bool) -> nn.Module:
    """(N, 1, 14, 14) -> (N, 10), once or twice."""
    return LeNet(
        nn.Sequential(*layers.conv(1, 16, kernel, padding=kernel // 2, pool=2)),
        nn.Sequential(
            *layers.conv(16, 32, kernel, padding=kernel // 2, pool=2),
            *(nn.Flatten(), *layers.dense(288, 120), *layers.dense(120, 84), digit_scores(84)),
        ),
        nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), digit_scores(64)) if auxiliary else None,
    )


VARIANTS = [
    digit_variant(
        "lenet",
        paper="001",
        source=__doc__,
        preset=Hyperparameters(
            lr=0.05,
            batch_size=25,
            epochs=25,
            alpha=0.3,
            optimiser="sgd",
            momentum=0.9,
            structure=(("batch_norm", True), ("kernel", 5), ("auxiliary", True)),
        ),
        options=(
            KERNEL,
            Option(
                name="auxiliary",
                kind=bool,
                meaning="auxiliary classifier on the first feature map",
                enables=frozenset({"alpha"}),
            ),
        ),
        auxiliary_loss=True,
        network=network,
    )
]

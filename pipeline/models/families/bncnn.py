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

from collections.abc import Callable

from torch import Tensor, nn

from pipeline.data.digits import CLASSES
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.objectives import OneLogit, PairOutput
from pipeline.models.parts import JoinPair, Layers, SharedTrunk, digit_scores, pair_family
from pipeline.models.variant import Variant


class JointFeatures(nn.Module):
    """Features of both images together: one logit, and 20 scores of the two digits where there is a classifier."""

    def __init__(self, features: nn.Module, last: nn.Module, classifier: nn.Module | None) -> None:
        super().__init__()
        self.join = JoinPair()
        self.features = features
        self.last = last
        self.classifier = classifier

    def forward(self, x: Tensor) -> PairOutput:
        """(B, 2, 14, 14) standardised images -> comparison (B, 1) and digit scores (B, 2, 10)."""
        features = self.features(self.join(x))
        digits = None if self.classifier is None else self.classifier(features).unflatten(-1, (2, CLASSES))
        return PairOutput(self.last(features), digits)


class FeaturesOfEach(nn.Module):
    """Features of each image by the same layers: ten outputs each are compared; a classifier names the digits."""

    def __init__(self, features: nn.Module, outputs: nn.Module, head: nn.Module, classifier: nn.Module | None) -> None:
        super().__init__()
        self.features = SharedTrunk(features)
        self.outputs = outputs
        self.head = head
        self.classifier = classifier

    def forward(self, x: Tensor) -> PairOutput:
        """(B, 2, 14, 14) standardised images -> comparison (B, 1) and digit scores (B, 2, 10)."""
        features = self.features(x).flatten(-3, -2)
        outputs = self.outputs(features).unflatten(-2, (-1, 2))
        digits = None if self.classifier is None else self.classifier(features).unflatten(-2, (-1, 2))
        return PairOutput(self.head(outputs.flatten(-2)), digits)


def normalised_family(
    arch: str,
    *,
    source: str,
    features: Callable[[Layers, int], nn.Module],
    width: int,
    preset: Hyperparameters,
    before_last: Callable[[Layers], list[nn.Module]] = lambda layers: [],
) -> list[Variant]:
    """The four variants upon features (N, channels, 14, 14) -> (N, width); dropout may stand before the last layer."""

    def network(layers: Layers, weight_sharing: bool, auxiliary_loss: bool) -> nn.Module:
        if not weight_sharing:
            classifier = nn.Linear(width, 2 * CLASSES) if auxiliary_loss else None
            last = nn.Sequential(*before_last(layers), nn.Linear(width, 1))
            return JointFeatures(features(layers, 2), last, classifier)
        outputs = nn.Sequential(*before_last(layers), digit_scores(width))
        head = nn.Sequential(nn.ReLU(), *layers.dense(20, 100), nn.Linear(100, 1))
        return FeaturesOfEach(features(layers, 1), outputs, head, digit_scores(width) if auxiliary_loss else None)

    chosen = [(preset.lr, preset.batch_size, alpha) for alpha in (0, 0, 0.8, 0.8)]
    return pair_family(
        arch, report="004", source=source, preset=preset, chosen=chosen, network=network, objective=OneLogit()
    )


def features(layers: Layers, channels: int) -> nn.Module:
    """(N, channels, 14, 14) -> (N, 256)."""
    return nn.Sequential(*layers.conv(channels, 32, 3, pool=2), *layers.conv(32, 64, 3, pool=2), nn.Flatten())


PRESET = Hyperparameters(
    lr=1e-3,
    batch_size=25,
    epochs=25,
    weight_decay=0.01,
    schedule="cosine_restarts",
    lr_min=1e-4,
    restart_epochs=5,
    structure=(("batch_norm", True), ("dropout", 0.4)),
)
VARIANTS = normalised_family(
    "bncnn", source=__doc__, features=features, width=256, preset=PRESET, before_last=Layers.drop
)

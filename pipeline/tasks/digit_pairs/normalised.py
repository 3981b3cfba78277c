"""Report 004's models with batch normalisation: a comparison and a classifier of digits that read the same features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline.models.blocks import Layers
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.variant import Variant
from pipeline.tasks.digit_pairs.dataset import CLASSES
from pipeline.tasks.digit_pairs.layers import JoinPair
from pipeline.tasks.digit_pairs.networks import SharedTrunk, digit_scores, pair_family
from pipeline.tasks.digit_pairs.objectives import OneLogit, PairOutput

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
"""Adam at 1e-3 with weight decay 0.01 and warm restarts down to 1e-4; the batch size is not given in the report."""


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


def nothing(_layers: Layers) -> list[nn.Module]:
    """No layers."""
    return []


@dataclass(frozen=True)
class FeaturesOfPairs:
    """The networks of a family upon features (N, channels, 14, 14) -> (N, width)."""

    features: Callable[[Layers, int], nn.Module]
    width: int
    before_last: Callable[[Layers], list[nn.Module]]
    """Such as dropout."""

    def __call__(self, layers: Layers, weight_sharing: bool, auxiliary_loss: bool, /) -> nn.Module:
        """One of the four."""
        features, width, before_last = self.features, self.width, self.before_last
        if not weight_sharing:
            classifier = nn.Linear(width, 2 * CLASSES) if auxiliary_loss else None
            last = nn.Sequential(*before_last(layers), nn.Linear(width, 1))
            return JointFeatures(features(layers, 2), last, classifier)
        outputs = nn.Sequential(*before_last(layers), digit_scores(width))
        head = nn.Sequential(nn.ReLU(), *layers.dense(20, 100), nn.Linear(100, 1))
        return FeaturesOfEach(features(layers, 1), outputs, head, digit_scores(width) if auxiliary_loss else None)


def normalised_family(
    family: str,
    *,
    source: str,
    features: Callable[[Layers, int], nn.Module],
    width: int,
    before_last: Callable[[Layers], list[nn.Module]] = nothing,
) -> list[Variant]:
    """The four variants upon features (N, channels, 14, 14) -> (N, width); dropout may stand before the last layer."""
    chosen = [(PRESET.lr, PRESET.batch_size, alpha) for alpha in (0, 0, 0.8, 0.8)]
    network = FeaturesOfPairs(features, width, before_last)
    return pair_family(
        family, paper="004", source=source, preset=PRESET, chosen=chosen, network=network, objective=OneLogit
    )

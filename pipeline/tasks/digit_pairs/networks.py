"""What models of pairs and of single digits are made of: trunks, heads, and the variants that combine them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.models.blocks import LAYER_OPTIONS, Layers, with_layers
from pipeline.models.hyperparameters import Hyperparameters, Option, Value
from pipeline.models.transforms import Transforms, standardised
from pipeline.models.variant import Variant, normalises
from pipeline.tasks.digit_pairs.augmentation import crop_flip, rotate
from pipeline.tasks.digit_pairs.dataset import CLASSES, SIDE
from pipeline.tasks.digit_pairs.inputs import grey, unit
from pipeline.tasks.digit_pairs.layers import FoldPair, JoinPair, SplitPair
from pipeline.tasks.digit_pairs.objectives import METRICS, DigitOutput, Digits, PairObjective, PairOutput

PAIR_SHAPE = (2, SIDE, SIDE)
TRANSFORMS = Transforms(
    scalings={"standardised": standardised, "unit": unit, "grey": grey},
    augmentations={"crop_flip": crop_flip, "rotate": rotate},
)


@dataclass(frozen=True)
class PairLayers(Layers):
    """Makes hidden layers of pair models."""

    score_relu: bool = False
    """Between the ten scores of each digit and the head that compares them."""

    def after_scores(self) -> list[nn.Module]:
        """What the scores of the digits go through before the head."""
        return [nn.ReLU()] if self.score_relu else []


class SharedTrunk(nn.Module):
    """One trunk reads both images (weight sharing)."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.fold = FoldPair()
        self.split = SplitPair()
        self.trunk = trunk
        # Batch normalisation sees each image's own statistics, as in an ordinary siamese network; otherwise the trunk
        # can read both at once.
        self.apart = normalises(trunk)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) -> (B, 2, features)."""
        if self.apart:
            first, second = self.split(x)
            return torch.stack((self.trunk(first), self.trunk(second)), dim=-2)
        features: Tensor = self.trunk(self.fold(x))
        pairs: Tensor = features.unflatten(-2, (-1, 2))
        return pairs


class TwoTrunks(nn.Module):
    """Each image has a trunk of its own."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.split = SplitPair()
        self.first = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) -> (B, 2, features)."""
        first, second = self.split(x)
        return torch.stack((self.first(first), self.second(second)), dim=-2)


class PairModel(nn.Module):
    """Trunks give ten scores for each digit; a head compares the twenty."""

    def __init__(self, trunks: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunks = trunks
        self.head = head

    def forward(self, x: Tensor) -> PairOutput:
        """(B, 2, 14, 14) standardised images -> comparison and digit scores (B, 2, 10)."""
        digits = self.trunks(x)
        return PairOutput(self.head(digits.flatten(-2)), digits)


class JointModel(nn.Module):
    """One network reads both images as two channels, and compares without naming the digits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.join = JoinPair()
        self.network = network

    def forward(self, x: Tensor) -> PairOutput:
        """(B, 2, 14, 14) standardised images -> comparison."""
        return PairOutput(self.network(self.join(x)), None)


class DigitModel(nn.Module):
    """One network recognises the digits of all pairs, one by one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.fold = FoldPair()
        self.network = network

    def forward(self, x: Tensor) -> DigitOutput:
        """(B, 2, 14, 14) standardised images -> digit scores (B, 2, 10), also of the auxiliary classifier if any."""
        scores = self.network(self.fold(x))
        main, auxiliary = scores if isinstance(scores, tuple) else (scores, None)
        return DigitOutput(_pairs(main), None if auxiliary is None else _pairs(auxiliary))


def _pairs(scores: Tensor) -> Tensor:
    pairs: Tensor = scores.unflatten(-2, (-1, 2))
    return pairs


KERNEL = Option(name="kernel", kind=int, low=1, high=13, odd=True, meaning="width and height of every convolution")
SCORE_RELU = Option(
    name="score_relu", kind=bool, default=True, meaning="a ReLU on the scores of the digits before the head"
)
FACTORS = tuple((ws, al) for al in (False, True) for ws in (False, True))
"""(weight sharing, auxiliary loss) of plain, `_ws`, `_al` and `_ws_al`: the order of report 000's Table 2."""


class NetworkOfTwo(Protocol):
    """Makes the network of one of the four variants of a pair model."""

    def __call__(self, layers: PairLayers, weight_sharing: bool, auxiliary_loss: bool, /) -> nn.Module:
        """(B, 2, 14, 14) -> `PairOutput`."""


@dataclass(frozen=True)
class PairNetwork:
    """The network of a pair variant by its options."""

    network: NetworkOfTwo
    weight_sharing: bool
    auxiliary_loss: bool

    def __call__(self, *, batch_norm: bool, dropout: float, score_relu: bool = False) -> nn.Module:
        """(B, 2, 14, 14) -> `PairOutput`."""
        return self.network(PairLayers(batch_norm, dropout, score_relu), self.weight_sharing, self.auxiliary_loss)


def pair_family(
    family: str,
    *,
    paper: str,
    source: str,
    preset: Hyperparameters,
    network: NetworkOfTwo,
    objective: type[PairObjective],
    chosen: Sequence[tuple[float, int, float]] = (),
    options: tuple[Option, ...] = (),
) -> list[Variant]:
    """The four variants of a pair model: plain, `_ws`, `_al` and `_ws_al`.

    `preset` is that of all, with alpha 1 where there is an auxiliary loss; `chosen` gives each its own learning rate,
    batch size and alpha. All have the options `batch_norm` and `dropout`, which are off unless the preset says
    otherwise, and then those of `options`.
    """

    def variant(index: int, weight_sharing: bool, auxiliary_loss: bool) -> Variant:
        lr, batch_size, alpha = chosen[index] if chosen else (preset.lr, preset.batch_size, float(auxiliary_loss))
        return Variant(
            name=family + "_ws" * weight_sharing + "_al" * auxiliary_loss,
            family=family,
            task="pairs",
            title="compares two digits",
            paper=paper,
            source=source,
            factors={"ws": weight_sharing, "al": auxiliary_loss},
            objective=objective(auxiliary_loss),
            metrics=METRICS if auxiliary_loss else METRICS[:1],
            transforms=TRANSFORMS,
            input_shape=PAIR_SHAPE,
            preset=with_layers(preset).replaced({"lr": lr, "batch_size": batch_size, "alpha": alpha}),
            options=(*LAYER_OPTIONS, *options),
            make=PairNetwork(network, weight_sharing, auxiliary_loss),
        )

    return [variant(index, *factors) for index, factors in enumerate(FACTORS)]


@dataclass(frozen=True)
class TrunksAndHead:
    """The networks of a family in which one trunk or two, (N, 1, 14, 14) -> (N, 10), feed a head (N, 20) -> (N, 2).

    Where there is a `plain`, (N, 2, 14, 14) -> (N, 2), it is the variant without weight sharing and auxiliary loss.
    """

    trunk: Callable[[PairLayers], nn.Module]
    head: Callable[[PairLayers], nn.Module]
    plain: Callable[[PairLayers], nn.Module] | None = None

    def __call__(self, layers: PairLayers, weight_sharing: bool, auxiliary_loss: bool, /) -> nn.Module:
        """One of the four."""
        if self.plain is not None and not (weight_sharing or auxiliary_loss):
            return JointModel(self.plain(layers))
        trunk = self.trunk
        trunks = SharedTrunk(trunk(layers)) if weight_sharing else TwoTrunks(trunk(layers), trunk(layers))
        return PairModel(trunks, self.head(layers))


@dataclass(frozen=True)
class DigitNetwork:
    """The network of a digit variant by its options."""

    network: Callable[..., nn.Module]

    def __call__(self, *, batch_norm: bool, dropout: float, **own: Value) -> nn.Module:
        """(B, 2, 14, 14) -> `DigitOutput`."""
        return DigitModel(self.network(Layers(batch_norm, dropout), **own))


def digit_variant(
    family: str,
    *,
    paper: str,
    source: str,
    preset: Hyperparameters,
    network: Callable[..., nn.Module],
    options: tuple[Option, ...] = (),
    auxiliary_loss: bool = False,
) -> Variant:
    """A model of single digits, `<family>_digits`.

    `network(layers, **options)` makes (N, 1, 14, 14) -> (N, 10) with the values of its own options; those of all
    hidden layers, `batch_norm` and `dropout`, are in `layers`, and are off unless the preset says otherwise.
    """
    return Variant(
        name=f"{family}_digits",
        family=family,
        task="digits",
        title="recognises single digits, which are then compared",
        paper=paper,
        source=source,
        factors={"ws": False, "al": auxiliary_loss},
        objective=Digits(auxiliary_loss),
        metrics=METRICS,
        transforms=TRANSFORMS,
        input_shape=PAIR_SHAPE,
        preset=with_layers(preset),
        options=(*LAYER_OPTIONS, *options),
        make=DigitNetwork(network),
    )


def digit_scores(features: int) -> nn.Linear:
    """The last layer of a trunk: ten scores."""
    return nn.Linear(features, CLASSES)

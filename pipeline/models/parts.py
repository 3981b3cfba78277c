"""Parts that models of pairs are made of.

Everything here is written for one replica: images are (B, C, 14, 14), vectors (B, D). `pipeline.training.stack` runs
the same `forward` for many replicas at once, where vectors are (R, B, D); therefore features are addressed as
dimension -1 and samples as dimension -2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pipeline.data.digits import CLASSES
from pipeline.models.hyperparameters import BATCH_NORM, DROPOUT, Hyperparameters, Option, Value
from pipeline.models.objectives import DigitOutput, Digits, PairObjective, PairOutput
from pipeline.models.variant import Variant, normalises


class FoldPair(nn.Module):
    """(B, 2, H, W) -> (2B, 1, H, W): the images one after the other, so that one network reads both at once."""

    def forward(self, x: Tensor) -> Tensor:
        """Both images of sample i become rows 2i and 2i + 1."""
        return x.flatten(0, 1).unsqueeze(1)


class SplitPair(nn.Module):
    """(B, 2, H, W) -> two (B, 1, H, W): the first and the second images."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split along the channels."""
        return x[:, 0:1], x[:, 1:2]


class JoinPair(nn.Module):
    """(B, 2, H, W) -> the same, as the feature map of one image with two channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Nothing is to be done for one replica."""
        return x


@dataclass(frozen=True)
class Layers:
    """Makes hidden layers, with what a configuration adds to each of them."""

    batch_norm: bool = False
    """After every fully connected layer and every convolution."""
    dropout: float = 0.0
    """Of the outputs of fully connected layers alone."""
    score_relu: bool = False
    """Between the ten scores of each digit and the head that compares them."""

    def dense(self, inputs: int, outputs: int) -> list[nn.Module]:
        """Fully connected, normalisation, ReLU, dropout: (N, inputs) -> (N, outputs)."""
        return [
            nn.Linear(inputs, outputs),
            *([nn.BatchNorm1d(outputs)] if self.batch_norm else []),
            nn.ReLU(),
            *self.drop(),
        ]

    def conv(self, inputs: int, outputs: int, kernel: int, *, padding: int = 0, pool: int = 1) -> list[nn.Module]:
        """Convolution, normalisation, max pooling, ReLU: maps of `inputs` channels -> maps of `outputs` channels."""
        return [
            nn.Conv2d(inputs, outputs, kernel, padding=padding),
            *self.norm(outputs),
            *([nn.MaxPool2d(pool)] if pool > 1 else []),
            nn.ReLU(),
        ]

    def norm(self, channels: int) -> list[nn.Module]:
        """Normalisation of feature maps, if it is on."""
        return [nn.BatchNorm2d(channels)] if self.batch_norm else []

    def after_scores(self) -> list[nn.Module]:
        """What the scores of the digits go through before the head."""
        return [nn.ReLU()] if self.score_relu else []

    def drop(self) -> list[nn.Module]:
        """Dropout, if there is any."""
        return [nn.Dropout(self.dropout)] if self.dropout else []


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


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut around them (He et al., 2015)."""

    def __init__(self, convolutions: nn.Module) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        y: Tensor = self.last(self.convolutions(x) + x)
        return y


def residual_blocks(layers: Layers, *, blocks: int, channels: int, kernel: int) -> list[nn.Module]:
    """Blocks that keep the size of their feature maps."""

    def block() -> nn.Module:
        second = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        return ResidualBlock(
            nn.Sequential(*layers.conv(channels, channels, kernel, padding=kernel // 2), second, *layers.norm(channels))
        )

    return [block() for _ in range(blocks)]


KERNEL = Option(name="kernel", kind=int, low=1, high=13, odd=True, meaning="width and height of every convolution")
SCORE_RELU = Option(
    name="score_relu", kind=bool, default=True, meaning="a ReLU on the scores of the digits before the head"
)
FACTORS = tuple((ws, al) for al in (False, True) for ws in (False, True))
"""(weight sharing, auxiliary loss) of plain, `_ws`, `_al` and `_ws_al`: the order of report 000's Table 2."""


def pair_family(
    arch: str,
    *,
    report: str,
    source: str,
    preset: Hyperparameters,
    network: Callable[[Layers, bool, bool], nn.Module],
    objective: PairObjective,
    chosen: Sequence[tuple[float, int, float]] = (),
    options: tuple[Option, ...] = (),
) -> list[Variant]:
    """The four variants of a pair model: plain, `_ws`, `_al` and `_ws_al`.

    `network(layers, weight_sharing, auxiliary_loss)` makes one of them. `preset` is that of all, with alpha 1 where
    there is an auxiliary loss; `chosen` gives each its own learning rate, batch size and alpha. All have the options
    `batch_norm` and `dropout`, which are off unless the preset says otherwise, and then those of `options`.
    """

    def variant(index: int, weight_sharing: bool, auxiliary_loss: bool) -> Variant:
        lr, batch_size, alpha = chosen[index] if chosen else (preset.lr, preset.batch_size, float(auxiliary_loss))
        return Variant(
            name=arch + "_ws" * weight_sharing + "_al" * auxiliary_loss,
            arch=arch,
            report=report,
            source=source,
            task="pairs",
            objective=objective,
            weight_sharing=weight_sharing,
            auxiliary_loss=auxiliary_loss,
            preset=with_layers(preset).having({"lr": lr, "batch_size": batch_size, "alpha": alpha}),
            options=(*LAYER_OPTIONS, *options),
            make=lambda **options: network(Layers(**options), weight_sharing, auxiliary_loss),
        )

    return [variant(index, *factors) for index, factors in enumerate(FACTORS)]


def trunks_and_head(
    trunk: Callable[[Layers], nn.Module],
    head: Callable[[Layers], nn.Module],
    *,
    plain: Callable[[Layers], nn.Module] | None = None,
) -> Callable[[Layers, bool, bool], nn.Module]:
    """The networks of a family in which one trunk or two, (N, 1, 14, 14) -> (N, 10), feed a head (N, 20) -> (N, 2).

    Where there is a `plain`, (N, 2, 14, 14) -> (N, 2), it is the variant without weight sharing and auxiliary loss.
    """

    def network(layers: Layers, weight_sharing: bool, auxiliary_loss: bool) -> nn.Module:
        if plain is not None and not (weight_sharing or auxiliary_loss):
            return JointModel(plain(layers))
        trunks = SharedTrunk(trunk(layers)) if weight_sharing else TwoTrunks(trunk(layers), trunk(layers))
        return PairModel(trunks, head(layers))

    return network


def digit_variant(
    arch: str,
    *,
    report: str,
    source: str,
    preset: Hyperparameters,
    network: Callable[..., nn.Module],
    options: tuple[Option, ...] = (),
    auxiliary_loss: bool = False,
) -> Variant:
    """A model of single digits, `<arch>_digits`.

    `network(layers, **options)` makes (N, 1, 14, 14) -> (N, 10) with the values of its own options; those of all
    hidden layers, `batch_norm` and `dropout`, are in `layers`, and are off unless the preset says otherwise.
    """

    def make(*, batch_norm: bool, dropout: float, **own: Value) -> nn.Module:
        return DigitModel(network(Layers(batch_norm, dropout), **own))

    return Variant(
        name=f"{arch}_digits",
        arch=arch,
        report=report,
        source=source,
        task="digits",
        objective=Digits(),
        auxiliary_loss=auxiliary_loss,
        preset=with_layers(preset),
        options=(*LAYER_OPTIONS, *options),
        make=make,
    )


LAYER_OPTIONS = (BATCH_NORM, DROPOUT)
"""What `Layers` takes."""


def with_layers(preset: Hyperparameters) -> Hyperparameters:
    """The preset with a value for each option of the hidden layers, before those of its own."""
    layers = {option.name: option.default for option in LAYER_OPTIONS if option.default is not None}
    return replace(preset, structure=tuple({**layers, **dict(preset.structure)}.items()))


def digit_scores(features: int) -> nn.Linear:
    """The last layer of a trunk: ten scores."""
    return nn.Linear(features, CLASSES)

"""Networks of many kinds, as persons write them, and the way in which replicas of each train together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.ways import Way

CLASSES = 3


class Brought(NamedTuple):
    """A network and what is expected of it."""

    make: Callable[[], nn.Module]
    """(B, *shape) -> (B, 3)."""
    shape: tuple[int, ...]
    way: Way
    reason: str
    """A part of it."""
    integers: bool = False


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, CLASSES))


class Named(nn.Module):
    """Functions where others have layers, and a dimension by its number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 20), nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(self.second(functional.relu(self.first(x))), dim=1)


class LastNamed(Named):
    """The same from behind."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(self.second(functional.relu(self.first(x))), dim=-1)


class Mean(nn.Module):
    """A mean over what is dimension 1 of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 20), nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        output: Tensor = self.second(y - y.mean(1, keepdim=True))
        return output


class Squeezed(nn.Module):
    """All dimensions of size 1 go, also that of one replica."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(6, 1) for _ in range(CLASSES)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([head(x).squeeze() for head in self.heads], -1)


class Viewed(nn.Module):
    """The usual network of images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 6, 3)
        self.last = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.relu(self.second(x))
        output: Tensor = self.last(x.view(x.size(0), -1))
        return output


def convnet() -> nn.Module:
    layers = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, CLASSES))
    return nn.Sequential(*layers)


def transposed() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(768, CLASSES))


def layer_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.LayerNorm(20), nn.ReLU(), nn.Linear(20, CLASSES))


class Words(nn.Module):
    """Of indices."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(11, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.words(x).mean(1))
        return output


class Bare(nn.Module):
    """A parameter without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Attentive(nn.Module):
    """Attention over sequences."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x, need_weights=not self.fused)
        output: Tensor = self.last(y.mean(1))
        return output


class Transformer(nn.Module):
    """With what torch drops in it by its global generator."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.last = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.encoder(x)[:, 0])
        return output


class Recurrent(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.memory = kind(4, 5, batch_first=True)
        self.last = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.memory(x)[0][:, -1])
        return output


class SinglePrecision(nn.Module):
    """A state of zeros, which are in single precision if nobody says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.last = nn.GRU(4, 5, batch_first=True), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.memory(x, torch.zeros(1, len(x), 5))[1][0])
        return output


class Residual(nn.Module):
    """Two layers with a shortcut around them."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(functional.relu(self.block(x) + x))
        return output


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, CLASSES))


class NormalisedByHand(nn.Module):
    """Running statistics and dropout beside what keeps them from being stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(6, 20), nn.BatchNorm1d(20)
        self.drop, self.last = nn.Dropout(0.3), nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(functional.relu(self.norm(self.first(x))))
        return functional.log_softmax(self.last(y), 1)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(0.4), nn.Linear(20, CLASSES))


def dropping_in_place() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.4, inplace=True), nn.Tanh(), nn.Linear(20, CLASSES))


class DropsByFunction(nn.Module):
    """Dropout from torch's global generator, beside a layer of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(6, 20), nn.Dropout(0.2), nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.dropout(functional.relu(self.first(x)), 0.3, self.training)
        output: Tensor = self.last(self.drop(y))
        return output


class TiedLayers(nn.Module):
    """A layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.shared(torch.tanh(self.shared(x)))))
        return output


class TiedWeights(nn.Module):
    """A weight of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return output


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(20), nn.ReLU(), nn.LazyBatchNorm1d(), nn.LazyLinear(CLASSES))


class Decides(nn.Module):
    """By the numbers that it is given: of a batch as a whole, which is another where replicas are together."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 20), nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if y.abs().max() > 1e6:
            y = y / 2
        output: Tensor = self.last(torch.tanh(y))
        return output


class Frozen(nn.Module):
    """Features that are not trained, not even by weight decay."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.last = nn.Linear(6, 20), nn.Linear(20, CLASSES)
        self.features.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.features(x)))
        return output


class Counts(nn.Module):
    """A buffer that is exchanged and not changed, and one that is not kept."""

    seen: Tensor
    ones: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, CLASSES)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("ones", torch.ones(6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = self.seen + len(x)
        output: Tensor = self.last(x * self.ones)
        return output / (1 + self.seen)


BROUGHT: dict[str, Brought] = {
    "mlp": Brought(mlp, (6,), "stacked", "each of its layers"),
    "softmax of dimension 1": Brought(Named, (6,), "vmapped", "outputs differ"),
    "softmax of the last dimension": Brought(LastNamed, (6,), "stacked", "each of its layers"),
    "mean of dimension 1": Brought(Mean, (6,), "vmapped", "outputs differ"),
    "squeeze": Brought(Squeezed, (6,), "vmapped", "another shape"),
    "view": Brought(Viewed, (2, 8, 8), "vmapped", "a dimension is named"),
    "convnet": Brought(convnet, (2, 8, 8), "stacked", "each of its layers"),
    "transposed convolution": Brought(transposed, (2, 8, 8), "vmapped", "ConvTranspose2d has no batched layer"),
    "layer norm": Brought(layer_norm, (6,), "vmapped", "LayerNorm has no batched layer"),
    "words": Brought(Words, (7,), "vmapped", "Embedding has no batched layer", integers=True),
    "bare parameter": Brought(Bare, (6,), "vmapped", "Bare has no batched layer"),
    "attention": Brought(Attentive, (5, 4), "vmapped", "neither vectors nor images"),
    "fused attention": Brought(lambda: Attentive(fused=True), (5, 4), "vmapped", "neither vectors nor images"),
    "transformer": Brought(Transformer, (5, 4), "one by one", "random"),
    "gru": Brought(lambda: Recurrent(nn.GRU), (5, 4), "one by one", "GRU"),
    "lstm": Brought(lambda: Recurrent(nn.LSTM), (5, 4), "one by one", "LSTM"),
    "single precision": Brought(SinglePrecision, (5, 4), "one by one", "GRU"),
    "residual": Brought(Residual, (2, 8, 8), "stacked", "each of its layers"),
    "batch norm": Brought(normalised, (6,), "stacked", "each of its layers"),
    "batch norm and dropout": Brought(NormalisedByHand, (6,), "vmapped", "outputs differ"),
    "dropout": Brought(dropping, (6,), "stacked", "each of its layers"),
    "dropout in place": Brought(dropping_in_place, (6,), "one by one", "random"),
    "dropout by function": Brought(DropsByFunction, (6,), "one by one", "random"),
    "tied layers": Brought(TiedLayers, (6,), "stacked", "each of its layers"),
    "tied weights": Brought(TiedWeights, (6,), "vmapped", "weights are shared"),
    "lazy": Brought(lazy, (6,), "stacked", "each of its layers"),
    "decides": Brought(Decides, (6,), "one by one", "Decides"),
    "frozen": Brought(Frozen, (6,), "vmapped", "not trained"),
    "counts": Brought(Counts, (6,), "one by one", "differ"),
}

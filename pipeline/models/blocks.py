"""Makes the hidden layers of networks, with what a configuration adds to each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from pipeline.models.hyperparameters import BATCH_NORM, DROPOUT, Hyperparameters


@dataclass(frozen=True)
class Layers:
    """Makes hidden layers."""

    batch_norm: bool = False
    """After every fully connected layer and every convolution."""
    dropout: float = 0.0
    """Of the outputs of fully connected layers alone."""

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

    def drop(self) -> list[nn.Module]:
        """Dropout, if there is any."""
        return [nn.Dropout(self.dropout)] if self.dropout else []


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


LAYER_OPTIONS = (BATCH_NORM, DROPOUT)
"""What `Layers` takes."""


def with_layers(preset: Hyperparameters) -> Hyperparameters:
    """The preset with a value for each option of the hidden layers, before those of its own."""
    layers = {option.name: option.default for option in LAYER_OPTIONS if option.default is not None}
    return replace(preset, structure=tuple({**layers, **dict(preset.structure)}.items()))

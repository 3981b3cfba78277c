"""`stack(module, R)`: an ordinary module becomes R independent ones that run as one.

Containers are kept with the `forward` that a person wrote; only leaves are exchanged for their twins
(`pipeline.training.layers`, which gives the layouts).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar, cast

from torch import Tensor, nn

from pipeline.models.parts import FoldPair, JoinPair, SplitPair
from pipeline.training.layers import (
    StackedBatchNorm,
    StackedConv2d,
    StackedDropout,
    StackedFlatten,
    StackedLinear,
    StackedSequential,
)

Module = TypeVar("Module", bound=nn.Module)


class StackedFoldPair(nn.Module):
    """`FoldPair`: images (R, B, 2, H, W) -> feature maps (2B, R, H, W)."""

    def __init__(self, _layer: FoldPair, _replicas: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """A view."""
        return x.flatten(1, 2).transpose(0, 1)


class StackedSplitPair(nn.Module):
    """`SplitPair`: images (R, B, 2, H, W) -> two feature maps (B, R, H, W)."""

    def __init__(self, _layer: SplitPair, _replicas: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Views."""
        first, second = x.transpose(0, 1).unbind(2)
        return first, second


class StackedJoinPair(nn.Module):
    """`JoinPair`: images (R, B, 2, H, W) -> feature maps (B, R*2, H, W)."""

    def __init__(self, _layer: JoinPair, _replicas: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """A copy, unless there is one replica."""
        return x.transpose(0, 1).flatten(1, 2)


TWINS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.Conv2d: StackedConv2d,
    nn.BatchNorm1d: StackedBatchNorm,
    nn.BatchNorm2d: StackedBatchNorm,
    nn.Dropout: StackedDropout,
    nn.Flatten: StackedFlatten,
    FoldPair: StackedFoldPair,
    SplitPair: StackedSplitPair,
    JoinPair: StackedJoinPair,
}
ELEMENTWISE = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Hardtanh, nn.Tanh, nn.Sigmoid),
)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
UNCHANGED: tuple[type[nn.Module], ...] = (*ELEMENTWISE, *POOLING)
"""Leaves without parameters that treat every channel alike: their own `forward` serves all layouts."""


def stack(module: Module, replicas: int) -> Module:
    """R replicas of `module`, each beginning with its weights; `module` itself is left as it is.

    A part that appears in several places (shared weights) is stacked once. Raises TypeError for a leaf without a twin,
    and for a parameter that two different leaves share.
    """
    stacked = _stack(module, replicas, {})
    if len(list(stacked.parameters())) != len(list(module.parameters())):
        raise TypeError(
            "weights are shared by using one module in several places, not one parameter in several modules"
        )
    return cast(Module, stacked)


def _stack(module: nn.Module, replicas: int, done: dict[nn.Module, nn.Module]) -> nn.Module:
    if module in done:
        return done[module]
    if type(module) in TWINS:
        stacked = TWINS[type(module)](module, replicas)
    elif type(module) in UNCHANGED:  # not isinstance: what is derived from them may do something else
        stacked = copy.deepcopy(module)
    elif not module._modules or any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
        raise TypeError(
            f"{type(module).__name__} has no stacked twin; add one to pipeline.training.stack or build the model from "
            f"{', '.join(sorted(leaf.__name__ for leaf in (*TWINS, *UNCHANGED)))}"
        )
    else:
        children = {name: _stack(child, replicas, done) for name, child in module._modules.items() if child is not None}
        if type(module) is nn.Sequential:
            stacked = StackedSequential(children)
        else:
            stacked = copy.copy(module)
            stacked._modules = {**module._modules, **children}
    done[module] = stacked
    return stacked

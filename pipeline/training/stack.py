"""`stack(module, R)`: an ordinary module becomes R independent ones that run as one.

Layout. Vectors are (R, B, D). Images enter as (R, B, C, H, W); feature maps are (B, R*C, H, W) in channels_last, so
that activations and pooling of `torch.nn` are already independent for every replica. Each parameter gains a leading
replica axis; row r belongs to replica r.

Containers are kept with the `forward` that a person wrote; only leaves are exchanged for their twins.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.parts import FoldPair, SplitPair

Module = TypeVar("Module", bound=nn.Module)


class StackedLinear(nn.Module):
    """`nn.Linear` for R replicas: weight (R, in, out), bias (R, out).

    The weight is stored transposed, since its gradient is made in that layout: torch would copy it at every step.
    """

    def __init__(self, layer: nn.Linear, replicas: int) -> None:
        super().__init__()
        self.weight = _repeat(layer.weight.T, replicas)
        self.bias = None if layer.bias is None else _repeat(layer.bias, replicas)

    def forward(self, x_RBD: Tensor) -> Tensor:
        """(R, B, in) -> (R, B, out)."""
        if self.bias is None:
            return torch.bmm(x_RBD, self.weight)
        return torch.baddbmm(self.bias.unsqueeze(1), x_RBD, self.weight)


class StackedConv2d(nn.Module):
    """`nn.Conv2d` for R replicas: one grouped convolution, weight (R, out, in / groups, h, w)."""

    def __init__(self, layer: nn.Conv2d, replicas: int) -> None:
        super().__init__()
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise TypeError(f"Conv2d can be stacked with numeric zero padding only, but got {layer}")
        self.groups = layer.groups
        self.settings = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self.weight = _repeat(layer.weight, replicas)
        self.bias = None if layer.bias is None else _repeat(layer.bias, replicas)

    def forward(self, x: Tensor) -> Tensor:
        """(B, R*in, H, W) -> (B, R*out, H', W')."""
        bias = None if self.bias is None else self.bias.flatten()
        x = x.contiguous(memory_format=torch.channels_last)
        return functional.conv2d(
            x, self.weight.flatten(0, 1), bias, groups=len(self.weight) * self.groups, **self.settings
        )


class StackedFlatten(nn.Module):
    """`nn.Flatten`: feature maps (B, R*C, H, W) -> vectors (R, B, C*H*W)."""

    def __init__(self, layer: nn.Flatten, replicas: int) -> None:
        super().__init__()
        if (layer.start_dim, layer.end_dim) != (1, -1):
            raise TypeError(f"Flatten can be stacked with its default dimensions only, but got {layer}")
        self.replicas = replicas

    def forward(self, x: Tensor) -> Tensor:
        """A view where the maps have one channel, a copy otherwise."""
        maps_BRCHW: Tensor = x.unflatten(1, (self.replicas, -1))
        return maps_BRCHW.transpose(0, 1).flatten(2)


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


TWINS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.Conv2d: StackedConv2d,
    nn.Flatten: StackedFlatten,
    FoldPair: StackedFoldPair,
    SplitPair: StackedSplitPair,
}
UNCHANGED: tuple[type[nn.Module], ...] = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.MaxPool2d, nn.AvgPool2d)
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
    elif isinstance(module, UNCHANGED):
        stacked = copy.deepcopy(module)
    elif next(module.parameters(recurse=False), None) is not None or not module._modules:
        raise TypeError(
            f"{type(module).__name__} has no stacked twin; add one to pipeline.training.stack or build the model from "
            f"{', '.join(sorted(leaf.__name__ for leaf in (*TWINS, *UNCHANGED)))}"
        )
    else:
        stacked = copy.copy(module)
        stacked._modules = {
            name: None if child is None else _stack(child, replicas, done) for name, child in module._modules.items()
        }
    done[module] = stacked
    return stacked


def _repeat(parameter: Tensor, replicas: int) -> nn.Parameter:
    return nn.Parameter(
        parameter.detach().expand(replicas, *parameter.shape).clone(memory_format=torch.contiguous_format)
    )


def replica_state(stacked: nn.Module, replica: int) -> dict[str, Tensor]:
    """The `state_dict` of one replica as an ordinary module would have it; the tensors are views into `stacked`."""
    views = {}
    for path, module in stacked.named_modules():
        for name, tensor in module.named_parameters(path, recurse=False):
            row = tensor.detach()[replica]
            views[name] = row.T if isinstance(module, StackedLinear) and name.endswith("weight") else row
    return views


def write_replica(stacked: nn.Module, replica: int, weights: Mapping[str, Tensor]) -> None:
    """Set the weights of one replica from the `state_dict` of an ordinary module."""
    for name, view in replica_state(stacked, replica).items():
        view.copy_(weights[name])


def select_replicas(stacked: nn.Module, keep: Tensor) -> None:
    """Keep the replicas at positions `keep`, in that order, and drop the others."""
    for parameter in stacked.parameters():
        parameter.data = parameter.data[keep]
    for module in stacked.modules():
        if isinstance(module, StackedFlatten):
            module.replicas = len(keep)

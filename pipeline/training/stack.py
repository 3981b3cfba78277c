"""`stack(module, R)`: an ordinary module becomes R independent ones that run as one.

Containers are kept with the `forward` that a person wrote; only leaves are exchanged for their batched layers
(`pipeline.training.layers`, which gives the layouts). A leaf of another kind brings its own, as `batched(replicas)`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar, cast

from torch import nn

from pipeline.training.layers import (
    BatchedBatchNorm,
    BatchedConv2d,
    BatchedDropout,
    BatchedFlatten,
    BatchedLinear,
    BatchedSequential,
)

Module = TypeVar("Module", bound=nn.Module)


BATCHED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: BatchedLinear,
    nn.Conv2d: BatchedConv2d,
    nn.BatchNorm1d: BatchedBatchNorm,
    nn.BatchNorm2d: BatchedBatchNorm,
    nn.Dropout: BatchedDropout,
    nn.Flatten: BatchedFlatten,
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

    A part that appears in several places (shared weights) is stacked once. Raises TypeError for a leaf without a
    batched layer, and for a parameter that two different leaves share.
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
    if type(module) in BATCHED:
        stacked = BATCHED[type(module)](module, replicas)
    elif (own := getattr(module, "batched", None)) is not None:
        stacked = own(replicas)
    elif type(module) in UNCHANGED:  # not isinstance: what is derived from them may do something else
        stacked = copy.deepcopy(module)
    elif not module._modules or any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
        raise TypeError(
            f"{type(module).__name__} has no batched layer; give it a method batched(replicas), or build the model "
            f"from {', '.join(sorted(leaf.__name__ for leaf in (*BATCHED, *UNCHANGED)))}"
        )
    else:
        children = {name: _stack(child, replicas, done) for name, child in module._modules.items() if child is not None}
        if type(module) is nn.Sequential:
            stacked = BatchedSequential(children)
        else:
            stacked = copy.copy(module)
            stacked._modules = {**module._modules, **children}
    done[module] = stacked
    return stacked

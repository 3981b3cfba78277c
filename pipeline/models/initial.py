"""Initial weights, drawn from a named generator instead of torch's global one."""

from __future__ import annotations

import math

import torch
from torch import nn

from pipeline.base.seeds import derive
from pipeline.models.hyperparameters import Structure
from pipeline.models.variant import Variant


def weights_generator(seed: int, *name: str | int) -> torch.Generator:
    """What the initial weights of the name (seed, "weights", *name) are drawn from."""
    return torch.Generator().manual_seed(derive(seed, "weights", *name))


def build_network(
    variant: Variant,
    seed: int,
    *name: str | int,
    structure: Structure | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """A network of this variant, by default with the preset's structure, with the weights that belong to the name.

    The distribution is the default of torch's layers: weights and biases uniform in +-1/sqrt(fan in); batch
    normalisation begins with factor 1 and shift 0. A foreign network draws its own from torch's global generator, which
    stands where that of the name begins meanwhile, and then where it was before.
    """
    if variant.foreign:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(weights_generator(seed, *name).get_state())
            return variant.build(structure).to(dtype)
    with torch.device("meta"):  # where layers draw nothing, in particular not from the global generator
        network: nn.Module = variant.build(structure)
    generator = weights_generator(seed, *name)
    for layer in network.modules():
        _leave_meta(layer, dtype)
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_parameters()  # ones and zeros: nothing is drawn
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(f"no initial distribution is known for {type(layer).__name__}; add it to build_network")
    return network


def _leave_meta(layer: nn.Module, dtype: torch.dtype) -> None:
    """Give a layer real tensors, with arbitrary values; `to_empty` imports what takes a worker half a second."""

    def real(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(tensor.shape, dtype=dtype if tensor.is_floating_point() else tensor.dtype)

    for name, parameter in layer.named_parameters(recurse=False):
        layer._parameters[name] = nn.Parameter(real(parameter))
    for name, buffer in layer.named_buffers(recurse=False):
        layer._buffers[name] = real(buffer)

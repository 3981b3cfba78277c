"""Dropout by a replica's own generator, where layers are not batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.training.layers import keep_mask


class OwnDropout(nn.Dropout):
    """`nn.Dropout` of one replica, or of R under `torch.func.vmap`, that drops what `BatchedDropout` does."""

    generators: Sequence[torch.Generator] = ()
    vmapped: bool
    """Whether it is called under vmap, which lets no layer draw by itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape. Raises RuntimeError before `generators` are set."""
        if not self.training or self.p == 0:
            return x
        if not self.generators:
            raise RuntimeError("dropout needs a generator for each replica; set its `generators` first")
        if not self.vmapped:
            return self.drop(x, keep_mask(x.shape, self.p, self.generators[0]))
        dropped: Tensor = _DropApart.apply(x, self)
        return dropped

    def drop(self, x: Tensor, keep: Tensor) -> Tensor:
        """What stays, enlarged so that the mean does."""
        return x * keep.to(x.device, x.dtype).div_(1 - self.p) if self.p < 1 else x * 0


class _DropApart(torch.autograd.Function):
    """Under vmap each replica draws from a generator of its own, as torch's own dropout cannot."""

    @staticmethod
    def forward(_x: Tensor, _layer: OwnDropout) -> Tensor:
        raise RuntimeError("what several replicas drop must differ between them, but is one tensor")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: vmap differentiates what it is given."""

    @staticmethod
    def vmap(_info: Any, in_dims: tuple[int, None], x: Tensor, layer: OwnDropout) -> tuple[Tensor, int]:
        """All replicas at once: their inputs along dimension `in_dims[0]`."""
        x = x.movedim(in_dims[0], 0)
        keep = torch.stack([keep_mask(x.shape[1:], layer.p, generator) for generator in layer.generators])
        return layer.drop(x, keep), 0


def own_dropouts(network: nn.Module, *, vmapped: bool) -> list[OwnDropout]:
    """The dropout layers of a network, made such as draw from generators of their own.

    What else drops, or writes its zeros over its input, stays as it is.
    """
    found = []
    for layer in network.modules():
        if type(layer) is nn.Dropout and not layer.inplace:
            layer.__class__ = OwnDropout  # in its place, so that whatever holds or watches it still does
            assert isinstance(layer, OwnDropout)
            layer.vmapped = vmapped
            found.append(layer)
    return found

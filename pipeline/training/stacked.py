"""R networks that run as one network of batched layers (`pipeline.training.stack`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.variant import normalises
from pipeline.training.layers import BatchedDropout, BatchedFlatten, BatchedLinear, BatchedSequential, GradientSlot
from pipeline.training.network import Layout, ReplicaNetworks
from pipeline.training.stack import stack


class StackedNetworks(ReplicaNetworks):
    """R networks that run as one, made of batched layers.

    With `bfloat16` the layers compute on a rounded copy of the values, which themselves stay in full precision. With
    `maps` the first layer takes feature maps, as that of an ordinary network of images does.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        *,
        bfloat16: bool = False,
        device: torch.device | str = "cpu",
        maps: bool = False,
    ) -> None:
        self._maps = maps
        self.model = stack(networks[0], len(networks)).to(device)
        self.normalise = normalises(networks[0])
        self._bfloat16 = bfloat16
        self._names, self._parameters = zip(*self.model.named_parameters(), strict=True)
        self.layout = Layout(len(networks), [parameter.shape[1:] for parameter in self._parameters])
        self.values = torch.cat([parameter.detach().flatten() for parameter in self._parameters])
        self._attach()
        for row, network in enumerate(networks):
            weights = network.state_dict()
            for name, view in self._state_views(row):
                view.copy_(weights[name])
        self.refresh()

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs and activations."""
        return self._seen.dtype

    def __call__(self, x: Tensor) -> Any:
        """Of inputs (R, B, ...), which become feature maps (B, R*C, H, W) where the first layer takes those."""
        if self._maps:
            x = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return self.model(x)

    def train(self, learning: bool = True) -> None:
        """Let layers learn, or apply what they have learned."""
        self.model.train(learning)

    def buffers(self) -> Iterable[Tensor]:
        """Running statistics."""
        return self.model.buffers()

    def _attach(self) -> None:
        """Let the layers see `values`, and show them where to write their gradients."""
        self._seen = self.values.bfloat16() if self._bfloat16 else self.values
        self._gradient = torch.zeros_like(self._seen)
        for parameter, value in zip(self._parameters, self.layout.split(self._seen), strict=True):
            parameter.data, parameter.grad = value, None
        blocks = dict(zip(self._parameters, self.layout.split(self._gradient), strict=True))
        self._slots: dict[nn.Parameter, GradientSlot] = {}
        for layer in self.model.modules():
            if isinstance(layer, BatchedLinear):
                layer.slot = GradientSlot(blocks[layer.weight], None if layer.bias is None else blocks[layer.bias])
                self._slots.update(dict.fromkeys(layer.parameters(), layer.slot))
            elif isinstance(layer, BatchedSequential):
                layer.gather_runs()
        self._gradient_blocks = list(blocks.items())

    def gradient(self) -> Tensor:
        """Of every replica."""
        for parameter, block in self._gradient_blocks:
            slot = self._slots.get(parameter)
            filled = slot is not None and slot.filled
            if parameter.grad is not None:
                (block.add_ if filled else block.copy_)(parameter.grad)
                parameter.grad = None
            elif not filled:
                block.zero_()
        for slot in self._slots.values():
            slot.filled = False
        return self._gradient.to(self.values.dtype)

    def refresh(self) -> None:
        """To be called after `values` were changed."""
        if self._bfloat16:
            self._seen.copy_(self.values)

    def call(self, values: Tensor, x: Tensor) -> Any:
        """The model's output as a function of `values`, for derivatives with respect to them."""
        blocks = self.layout.split(values.bfloat16() if self._bfloat16 else values)
        return torch.func.functional_call(self.model, dict(zip(self._names, blocks, strict=True)), (x,))

    def state(self, row: int) -> dict[str, Tensor]:
        """The `state_dict` of one replica as an ordinary module has it; a copy."""
        return {name: view.clone(memory_format=torch.contiguous_format) for name, view in self._state_views(row)}

    def _state_views(self, row: int) -> Iterator[tuple[str, Tensor]]:
        blocks = dict(zip(self._parameters, self.layout.split(self.values), strict=True))
        for path, module in self.model.named_modules(remove_duplicate=False):
            prefix = path + "." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    part = blocks[parameter][row]
                    is_matrix = isinstance(module, BatchedLinear) and name == "weight"
                    yield prefix + name, module.as_layer(part) if is_matrix else part
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    yield prefix + name, buffer[row]

    def use_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Give every replica the generator of what it drops."""
        for layer in self.model.modules():
            if isinstance(layer, BatchedDropout):
                layer.generators = generators

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order."""
        self.values = self.layout.select(self.values, keep)
        self.layout = Layout(len(keep), self.layout.shapes)
        for layer in self.model.modules():
            for name, buffer in layer._buffers.items():
                layer._buffers[name] = None if buffer is None else buffer[keep]
            if isinstance(layer, BatchedFlatten | BatchedDropout):
                layer.replicas = len(keep)
            if isinstance(layer, BatchedDropout):
                layer.generators = [layer.generators[position] for position in keep.tolist()]
        self._attach()

"""R networks whose parameters lie in one vector, so that an optimiser updates all of them in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.variant import normalises
from pipeline.training.layers import BatchedDropout, BatchedFlatten, BatchedLinear, BatchedSequential, GradientSlot
from pipeline.training.stack import stack


class Layout:
    """How a vector holds the P parameters of R replicas: parameter by parameter, each a block (R, *shape).

    A block is contiguous, as batched matrix products need what they write.
    """

    def __init__(self, replicas: int, shapes: Sequence[torch.Size]) -> None:
        self.replicas, self.shapes = replicas, list(shapes)
        self._sizes = [replicas * shape.numel() for shape in shapes]

    def split(self, vector: Tensor) -> list[Tensor]:
        """The blocks (R, *shape) as views."""
        parts = vector.split(self._sizes)
        return [part.view(self.replicas, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def spread(self, numbers_R: Sequence[float], target: Tensor) -> Tensor:
        """Write one number of each replica beside each of its parameters; a scalar takes the number of all."""
        if not target.dim():
            return target.fill_(numbers_R[0])
        numbers = target.new_tensor(numbers_R)
        for block, shape in zip(self.split(target), self.shapes, strict=True):
            block.copy_(numbers.view(-1, *[1] * len(shape)).expand_as(block))
        return target

    def select(self, vector: Tensor, keep: Tensor) -> Tensor:
        """The vector of the replicas at positions `keep`."""
        return torch.cat([block[keep].flatten() for block in self.split(vector)])


class ReplicaNetworks:
    """R networks of one structure that run as one; `values` (R * P,) are their parameters, held as `layout` says.

    With `bfloat16` the layers compute on a rounded copy of the values, which themselves stay in full precision.
    """

    def __init__(
        self, networks: Sequence[nn.Module], *, bfloat16: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        self.model = stack(networks[0], len(networks)).to(device)
        self.normalise = normalises(networks[0])
        """Whether any layer is a batch normalisation."""
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

    def __len__(self) -> int:
        return self.layout.replicas

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs and activations."""
        return self._seen.dtype

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
        """Gradients (R * P,) of the backward pass just done, in full precision; to be used before the next one."""
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

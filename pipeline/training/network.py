"""R networks whose parameters lie in one vector, so that an optimiser updates all of them in one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


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


class ReplicaNetworks(ABC):
    """R networks of one structure; `values` (R * P,) are their parameters, held as `layout` says."""

    values: Tensor
    layout: Layout
    normalise: bool
    """Whether any layer is a batch normalisation."""

    def __len__(self) -> int:
        return self.layout.replicas

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs and activations."""
        return self.values.dtype

    @abstractmethod
    def __call__(self, x: Tensor) -> Any:
        """The output for inputs (R, B, ...): tensors (R, B, ...)."""

    @abstractmethod
    def train(self, learning: bool = True) -> None:
        """Let layers learn, or apply what they have learned."""

    def eval(self) -> None:
        """Let layers apply what they have learned."""
        self.train(False)

    @abstractmethod
    def use_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Give every replica the generator of what it drops."""

    @abstractmethod
    def gradient(self) -> Tensor:
        """Gradients (R * P,) of the backward pass just done, in full precision; to be used before the next one.

        A parameter that had no part in the loss has a gradient of 0.
        """

    @abstractmethod
    def refresh(self) -> None:
        """To be called after `values` were changed."""

    @abstractmethod
    def state(self, row: int) -> dict[str, Tensor]:
        """The `state_dict` of one replica as an ordinary module has it; a copy."""

    @abstractmethod
    def buffers(self) -> Iterable[Tensor]:
        """What changes besides the values."""

    @abstractmethod
    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order."""

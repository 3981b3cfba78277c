"""Layers with forward and backward passes written by hand, each for R replicas.

Vectors are (R, B, D); row r of a parameter belongs to replica r.

    x, y    input and output        dx, dy  derivatives of the loss with respect to them
    W, b    weight and bias         dW, db  likewise
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.base.errors import InputError


@dataclass(frozen=True, eq=False)
class Parameter:
    """What is trained; a step changes the tensors in place, other replicas come as another parameter."""

    name: str
    value: Tensor
    """(R, ...)."""
    gradient: Tensor
    """Of the same shape: the sum over the backward passes since it was cleared."""

    def select(self, keep: Tensor) -> Parameter:
        """The replicas at positions `keep`, in that order."""
        return Parameter(self.name, self.value[keep], self.gradient[keep])


class Module(ABC):
    """A function of vectors that can be differentiated; it remembers what backward needs of its last forward."""

    _kept: Tensor | None = None

    @abstractmethod
    def forward(self, x_RBD: Tensor) -> Tensor:
        """(R, B, D) -> (R, B, D')."""

    @abstractmethod
    def backward(self, gradient: Tensor) -> Tensor:
        """dx from dy, for the last forward; adds to the gradients of the parameters.

        Raises RuntimeError if there was no forward.
        """

    def parameters(self) -> list[Parameter]:
        """All that is trained, in a fixed order; their values and gradients are not copies."""
        return []

    @property
    def count(self) -> int:
        """How many numbers of one replica are trained."""
        return 0

    def initialise(
        self,
        generators: Sequence[torch.Generator],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Begin with one replica for each generator, its numbers drawn from that generator alone."""
        self._kept = None

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order; a forward comes next."""
        self._kept = None

    def _recall(self) -> Tensor:
        if self._kept is None:
            raise RuntimeError(f"backward goes back through the last forward, but {self} has none; call forward first")
        return self._kept

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Linear(Module):
    """y = x W + b, with W (R, inputs, outputs) and b (R, outputs).

    Both begin uniform in +-1/sqrt(inputs), the default of torch (not given in the report).
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        self.inputs, self.outputs, self._biased = inputs, outputs, bias
        self.initialise(())

    @property
    def count(self) -> int:
        """How many numbers of one replica are trained."""
        return (self.inputs + self._biased) * self.outputs

    def parameters(self) -> list[Parameter]:
        """The weight, and the bias if there is one."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def initialise(
        self,
        generators: Sequence[torch.Generator],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Draw the weight, then the bias: on the CPU, so that every device begins with the same numbers."""
        super().initialise(generators, dtype, device)
        bound = 1 / math.sqrt(self.inputs)

        def draw(name: str, *shape: int) -> Parameter:
            value = torch.empty(len(generators), *shape, dtype=dtype, device="cpu")
            for row, generator in zip(value, generators, strict=True):
                row.uniform_(-bound, bound, generator=generator)
            value = value.to(device)
            return Parameter(name, value, torch.zeros_like(value))

        self.weight = draw("weight", self.inputs, self.outputs)
        self.bias = draw("bias", self.outputs) if self._biased else None

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order."""
        super().select(keep)
        self.weight = self.weight.select(keep)
        self.bias = None if self.bias is None else self.bias.select(keep)

    def forward(self, x_RBD: Tensor) -> Tensor:
        """(R, B, inputs) -> (R, B, outputs). Raises RuntimeError while there is no replica."""
        if not len(self.weight.value):
            raise RuntimeError(f"a forward pass needs at least one replica, but {self} has none; call initialise first")
        self._kept = x_RBD
        if self.bias is None:
            return torch.bmm(x_RBD, self.weight.value)
        return torch.baddbmm(self.bias.value.unsqueeze(1), x_RBD, self.weight.value)

    def backward(self, gradient: Tensor) -> Tensor:
        """dx = dy W^T; adds dW = x^T dy and db = the sum of dy over the samples."""
        self.weight.gradient.baddbmm_(self._recall().transpose(1, 2), gradient)
        if self.bias is not None:
            self.bias.gradient.add_(gradient.sum(1))
        return torch.bmm(gradient, self.weight.value.transpose(1, 2))

    def __repr__(self) -> str:
        return f"Linear({self.inputs}, {self.outputs}{'' if self._biased else ', bias=False'})"


class ReLU(Module):
    """y = max(0, x)."""

    def forward(self, x_RBD: Tensor) -> Tensor:
        """(R, B, D) -> (R, B, D)."""
        self._kept = x_RBD.clamp_min(0)
        return self._kept

    def backward(self, gradient: Tensor) -> Tensor:
        """dx = dy where y > 0, else 0: as y is never negative, dx = dy sign(y)."""
        return self._recall().sign().mul_(gradient)


class Tanh(Module):
    """y = tanh(x)."""

    def forward(self, x_RBD: Tensor) -> Tensor:
        """(R, B, D) -> (R, B, D)."""
        self._kept = x_RBD.tanh()
        return self._kept

    def backward(self, gradient: Tensor) -> Tensor:
        """dx = dy (1 - y^2) = dy - (dy y) y."""
        output = self._recall()
        return gradient.addcmul(gradient * output, output, value=-1)


class Sequential(Module):
    """Modules one after the other; parameters are named by position and name, such as "0.weight"."""

    def __init__(self, *modules: Module) -> None:
        if len(set(modules)) < len(modules):
            raise InputError(
                f"a module remembers one forward, so it may stand in a Sequential once, but got {modules}; make another"
            )
        self.layers = modules

    @property
    def count(self) -> int:
        """How many numbers of one replica are trained."""
        return sum(layer.count for layer in self.layers)

    def parameters(self) -> list[Parameter]:
        """Those of the layers in order."""
        return [
            Parameter(f"{position}.{parameter.name}", parameter.value, parameter.gradient)
            for position, layer in enumerate(self.layers)
            for parameter in layer.parameters()
        ]

    def initialise(
        self,
        generators: Sequence[torch.Generator],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Layer by layer from the same generators, so that one draws all of a replica."""
        for layer in self.layers:
            layer.initialise(generators, dtype, device)

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order, in every layer."""
        for layer in self.layers:
            layer.select(keep)

    def forward(self, x_RBD: Tensor) -> Tensor:
        """Through the layers in order."""
        for layer in self.layers:
            x_RBD = layer.forward(x_RBD)
        return x_RBD

    def backward(self, gradient: Tensor) -> Tensor:
        """Through the layers in reverse: the chain rule."""
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return gradient

    def zero_gradients(self) -> None:
        """Clear what the backward passes have added up."""
        for layer in self.layers:
            for parameter in layer.parameters():
                parameter.gradient.zero_()

    def state(self, row: int) -> dict[str, Tensor]:
        """The parameters of one replica by name; copies."""
        return {parameter.name: parameter.value[row].clone() for parameter in self.parameters()}

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

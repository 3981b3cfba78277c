"""One step: forward, backward and update of R replicas over one batch of each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.models.parts import PairOutput
from pipeline.models.variant import Hyperparameters
from pipeline.training.loss import pair_loss_R
from pipeline.training.network import ReplicaNetworks
from pipeline.training.optimisers import make_optimiser

PROGRAMS = 256
"""Compiled programs that a worker may hold; chunks of one shape share theirs."""


class Step:
    """Networks and optimiser of R replicas; a call learns from one batch, operation by operation."""

    fused = True
    """Whether the optimiser may run kernels of its own."""

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], *, auxiliary_loss: bool) -> None:
        self.networks = networks
        self.optimiser = make_optimiser(networks.values, networks.layout, hypers, fused=self.fused)
        alpha_R = networks.values.new_tensor([hyper.alpha for hyper in hypers])
        self.alpha_R = alpha_R if auxiliary_loss else None

    def __call__(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from x (R, B, 2, H, W), target (R, B) and digits (R, B, 2): loss (R,) and comparison (R, B, 2)."""
        self.optimiser.begin_step()
        return self._learn(x, target, digits)

    def _learn(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        loss_R, comparison = self.evaluate(x, target, digits)
        torch.autograd.backward(loss_R, torch.ones_like(loss_R))
        self.optimiser.step(self.networks.gradient())
        self.networks.refresh()
        return loss_R.detach(), comparison.detach()

    def evaluate(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and comparison without learning."""
        output = self.networks.model(x)
        return pair_loss_R(PairOutput(*map(_full, output)), target, digits, self.alpha_R), output.comparison

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`."""
        self.networks.select(keep)
        self.optimiser.select(self.networks.values, keep)
        self.alpha_R = None if self.alpha_R is None else self.alpha_R[keep]


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype is torch.bfloat16 else tensor


class CompiledStep(Step):
    """The whole step as one compiled graph, for the shapes of its first batch; others go operation by operation."""

    fused = False

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], *, auxiliary_loss: bool) -> None:
        super().__init__(networks, hypers, auxiliary_loss=auxiliary_loss)
        self._shape: torch.Size | None = None
        self._compiled = torch.compile(  # type: ignore[call-overload]  # its overloads have no recompile_limit yet
            self._graph, fullgraph=True, dynamic=False, recompile_limit=PROGRAMS
        )

    def _learn(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        self._shape = self._shape or x.shape
        if x.shape != self._shape:
            return super()._learn(x, target, digits)
        loss_R, comparison = self._compiled(self.networks.values, x, target, digits)
        return loss_R, comparison

    def _graph(self, values: Tensor, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        def loss(values: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            output = self.networks.call(values, x)
            loss_R = pair_loss_R(PairOutput(*map(_full, output)), target, digits, self.alpha_R)
            return loss_R.sum(), (loss_R, output.comparison)

        gradient, (loss_R, comparison) = torch.func.grad(loss, has_aux=True)(values)
        self.optimiser.step(gradient)
        self.networks.refresh()
        return loss_R, comparison


class GraphedStep(Step):
    """The whole step as one CUDA graph, for the shapes of its first batch: a launch instead of a hundred."""

    fused = False
    _WARM_UP = 3
    """Steps before a graph is captured, as torch asks for."""

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], *, auxiliary_loss: bool) -> None:
        super().__init__(networks, hypers, auxiliary_loss=auxiliary_loss)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()

    def _learn(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        if self._graph is None:
            self._capture(x, target, digits)
        if x.shape != self._inputs[0].shape:
            return super()._learn(x, target, digits)
        for static, given in zip(self._inputs, (x, target, digits), strict=True):
            static.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        loss_R, comparison = self._outputs
        return loss_R.clone(), comparison.clone()

    def _capture(self, *batch: Tensor) -> None:
        """Record a step; what warming up changes is put back."""
        self._inputs = tuple(tensor.clone() for tensor in batch)
        changing = [self.networks.values, *self.optimiser.state, *self.networks.model.buffers()]
        before = [tensor.clone() for tensor in changing]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(self._WARM_UP):
                super()._learn(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = super()._learn(*self._inputs)
        for tensor, value in zip(changing, before, strict=True):
            tensor.copy_(value)
        self.networks.refresh()

    def select(self, keep: Tensor) -> None:
        """Go on with some replicas; the graph is recorded anew."""
        super().select(keep)
        self._graph = None


def can_compile(network: nn.Module, device: str) -> bool:
    """Whether a step of this network can be one graph: what is dropped is drawn outside of it, on the CPU, and
    torch.compile does not follow a derivative through the running statistics of batch normalisation."""
    outside = (nn.Dropout,) if device == "cuda" else (nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d)
    return not any(isinstance(layer, outside) for layer in network.modules())


def make_step(
    networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], *, auxiliary_loss: bool, compiled: bool
) -> Step:
    """The step of a chunk."""
    graph = GraphedStep if networks.values.is_cuda else CompiledStep
    return (graph if compiled else Step)(networks, hypers, auxiliary_loss=auxiliary_loss)

"""One step: forward, backward and update of R replicas over one batch of each."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.dataset import Batch
from pipeline.models.hyperparameters import Hyperparameters, Structure
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant, normalises
from pipeline.training.network import ReplicaNetworks
from pipeline.training.optimisers import make_optimiser
from pipeline.training.outputs import over_parts, parts_of
from pipeline.training.stacked import StackedNetworks

PROGRAMS = 256
"""Compiled programs that a worker may hold; chunks of one shape share theirs."""


class Step(ABC):
    """R replicas that learn from one batch of each at a time."""

    objective: Objective
    """Which is fitted to the training samples before the first step."""
    dtype: torch.dtype
    """Of inputs and activations."""
    whole = False
    """Whether a step takes all samples of a replica at once."""
    needs_two = False
    """Whether a step needs two samples at least, as batch normalisation does."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Get ready to learn in an epoch, counted from 0."""

    @abstractmethod
    def __call__(self, batch: Batch) -> tuple[Tensor, Any]:
        """Learn from a batch (R, B, ...): loss (R,) and output, detached."""

    @abstractmethod
    def begin_evaluation(self) -> None:
        """Get ready to evaluate."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> tuple[Tensor, Any]:
        """Loss (R,) and output without learning."""

    @abstractmethod
    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`."""

    @abstractmethod
    def state(self, row: int) -> dict[str, Tensor]:
        """Weights and buffers of one replica by name; a copy."""


class NetworkStep(Step):
    """Networks and optimiser of R replicas; a call learns from one batch, operation by operation."""

    fused = True
    """Whether the optimiser may run kernels of its own."""

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant) -> None:
        self.objective, self.dtype = variant.objective, networks.dtype
        self.needs_two = networks.normalise
        self.networks = networks
        self.optimiser = make_optimiser(networks.values, networks.layout, hypers, fused=self.fused)
        self.hyper_R = {
            name: networks.values.new_tensor([getattr(hyper, name) for hyper in hypers])
            for name in sorted(variant.objective.hyperparameters)
        }
        """Those that the loss reads."""

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates, and let layers learn."""
        self.networks.train()
        self.optimiser.begin_epoch(epoch)

    def __call__(self, batch: Batch) -> tuple[Tensor, Any]:
        """Learn from a batch: loss (R,) and output."""
        self.optimiser.begin_step()
        return self._learn(batch)

    def _learn(self, batch: Batch) -> tuple[Tensor, Any]:
        loss_R, output = self.evaluate(batch)
        torch.autograd.backward(loss_R, torch.ones_like(loss_R))
        self.optimiser.step(self.networks.gradient())
        self.networks.refresh()
        return loss_R.detach(), over_parts(Tensor.detach, output)

    def begin_evaluation(self) -> None:
        """Let layers apply what they have learned."""
        self.networks.eval()

    def evaluate(self, batch: Batch) -> tuple[Tensor, Any]:
        """Loss (R,) and output without learning."""
        output = over_parts(_full, self.networks(batch["x"]))
        return self.objective.loss_R(output, batch, self.hyper_R), output

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`."""
        self.networks.select(keep)
        self.optimiser.select(self.networks.values, keep)
        self.objective = self.objective.select(keep)
        self.hyper_R = {name: number_R[keep] for name, number_R in self.hyper_R.items()}

    def state(self, row: int) -> dict[str, Tensor]:
        """The `state_dict` of one replica."""
        return self.networks.state(row)


def _full(part: Tensor) -> Tensor:
    """In full precision."""
    return part.float() if part.dtype is torch.bfloat16 else part


class CompiledStep(NetworkStep):
    """The whole step as one compiled graph, for the shapes of its first batch; others go operation by operation."""

    fused = False
    networks: StackedNetworks

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant) -> None:
        super().__init__(networks, hypers, variant)
        self._shape: torch.Size | None = None
        self._form: Any = None
        """An output, whose form those of the graph have: it gives nothing but tensors."""
        self._compiled = torch.compile(self._graph, fullgraph=True, dynamic=False, **_limit_of_programs())

    def _learn(self, batch: Batch) -> tuple[Tensor, Any]:
        shape = batch["x"].shape
        if self._shape is None:
            with torch.no_grad():
                self._shape, (_, self._form) = shape, self.evaluate(batch)
        if shape != self._shape:
            return super()._learn(batch)
        loss_R, *parts = self._compiled(self.networks.values, dict(batch))
        left = iter(parts)
        return loss_R, over_parts(lambda _: next(left), self._form)

    def _graph(self, values: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Loss (R,), and the tensors of the output."""

        def loss(values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            output = over_parts(_full, self.networks.call(values, batch["x"]))
            loss_R = self.objective.loss_R(output, batch, self.hyper_R)
            return loss_R.sum(), (loss_R, *parts_of(output))

        found: tuple[Tensor, ...]
        gradient, found = torch.func.grad(loss, has_aux=True)(values)
        self.optimiser.step(gradient)
        self.networks.refresh()
        return found


def _limit_of_programs() -> dict[str, Any]:
    """An option of torch.compile from torch 2.14 on; before, the limit is one for all that a process compiles."""
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        return {"recompile_limit": PROGRAMS}
    torch._dynamo.config.recompile_limit = PROGRAMS
    return {}


class GraphedStep(NetworkStep):
    """The whole step as one CUDA graph, for the shapes of its first batch: a launch instead of a hundred."""

    fused = False
    _WARM_UP = 3
    """Steps before a graph is captured, as torch asks for."""

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant) -> None:
        super().__init__(networks, hypers, variant)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Batch = {}

    def _learn(self, batch: Batch) -> tuple[Tensor, Any]:
        if self._graph is None:
            self._capture(batch)
        if batch["x"].shape != self._inputs["x"].shape:
            return super()._learn(batch)
        for name, static in self._inputs.items():
            static.copy_(batch[name])
        assert self._graph is not None
        self._graph.replay()
        loss_R, output = self._outputs
        return loss_R.clone(), over_parts(Tensor.clone, output)

    def _capture(self, batch: Batch) -> None:
        """Record a step; what warming up changes is put back."""
        self._inputs = {name: tensor.clone() for name, tensor in batch.items()}
        changing = [self.networks.values, *self.optimiser.state, *self.networks.buffers()]
        before = [tensor.clone() for tensor in changing]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(self._WARM_UP):
                super()._learn(self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = super()._learn(self._inputs)
        for tensor, value in zip(changing, before, strict=True):
            tensor.copy_(value)
        self.networks.refresh()

    def select(self, keep: Tensor) -> None:
        """Go on with some replicas; the graph is recorded anew."""
        super().select(keep)
        self._graph = None


def can_compile(variant: Variant, structure: Structure, device: str) -> bool:
    """Whether a step of this network can be one graph: what is dropped is drawn outside of it, on the CPU, and
    torch.compile does not follow a derivative through the running statistics of batch normalisation. A foreign network
    may do what no graph can."""
    if variant.foreign:
        return False
    network = variant.build(structure)
    if variant.make_step is not None or any(isinstance(layer, nn.Dropout) for layer in network.modules()):
        return False
    return device == "cuda" or not normalises(network)


def make_step(
    networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant, *, compiled: bool
) -> NetworkStep:
    """The step of a chunk of ordinary networks."""
    graph = GraphedStep if networks.values.is_cuda else CompiledStep
    return (graph if compiled else NetworkStep)(networks, hypers, variant)

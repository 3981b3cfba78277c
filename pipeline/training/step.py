"""One step: forward, backward and update of R replicas over one batch of each."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import mini
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.objectives import Objective, signs
from pipeline.models.variant import Variant, normalises
from pipeline.training.network import ReplicaNetworks
from pipeline.training.optimisers import make_optimiser
from pipeline.training.schedules import learning_rate

PROGRAMS = 256
"""Compiled programs that a worker may hold; chunks of one shape share theirs."""


class Step(ABC):
    """R replicas that learn from one batch of each at a time."""

    objective: Objective
    dtype: torch.dtype
    """Of inputs and activations."""
    needs_two = False
    """Whether a step needs two samples at least, as batch normalisation does."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Get ready to learn in an epoch, counted from 0."""

    @abstractmethod
    def __call__(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from x (R, B, ...), target (R, B) and digits (R, B, 2): loss (R,) and verdict (R, B, ...)."""

    @abstractmethod
    def begin_evaluation(self) -> None:
        """Get ready to evaluate."""

    @abstractmethod
    def evaluate(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Any]:
        """Loss (R,) and output without learning."""

    @abstractmethod
    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`."""

    @abstractmethod
    def state(self, row: int) -> dict[str, Tensor]:
        """Weights and buffers of one replica by name; a copy."""


class MiniStep(Step):
    """Networks of the mini framework, with its own loss and its own gradient descent."""

    def __init__(
        self,
        network: mini.Sequential,
        hypers: Sequence[Hyperparameters],
        weights: Sequence[torch.Generator],
        *,
        objective: Objective,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.objective, self.dtype = objective, dtype
        self.network, self.hypers = network, list(hypers)
        network.initialise(weights, dtype, device)
        self.loss = mini.MSE()
        self.optimiser = mini.SGD(network, [hyper.lr for hyper in hypers])

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates."""
        self.optimiser.set_rates([learning_rate(hyper, epoch) for hyper in self.hypers])

    def __call__(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Forward, backward and update."""
        loss_R, output = self.evaluate(x, target, digits)
        self.network.zero_gradients()
        self.network.backward(self.loss.backward())
        self.optimiser.step()
        return loss_R, output

    def begin_evaluation(self) -> None:
        """Nothing is to be done."""

    def evaluate(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (R,) and output (R, B, 1)."""
        output = self.network.forward(x)
        return self.loss.forward(output, signs(target, self.dtype).unsqueeze(-1)), output

    def select(self, keep: Tensor) -> None:
        """Go on with some replicas."""
        self.network.select(keep)
        self.optimiser.select(keep)
        self.hypers = [self.hypers[position] for position in keep.tolist()]

    def state(self, row: int) -> dict[str, Tensor]:
        """Weights (inputs, outputs) and biases of one replica."""
        return self.network.state(row)


class NetworkStep(Step):
    """Networks and optimiser of R replicas; a call learns from one batch, operation by operation."""

    fused = True
    """Whether the optimiser may run kernels of its own."""

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant) -> None:
        self.objective, self.dtype = variant.objective, networks.dtype
        self.needs_two = networks.normalise
        self.networks = networks
        self.optimiser = make_optimiser(networks.values, networks.layout, hypers, fused=self.fused)
        alpha_R = networks.values.new_tensor([hyper.alpha for hyper in hypers])
        self.alpha_R = alpha_R if variant.auxiliary_loss else None

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates, and let layers learn."""
        self.networks.model.train()
        self.optimiser.begin_epoch(epoch)

    def __call__(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from x (R, B, 2, H, W), target (R, B) and digits (R, B, 2): loss (R,) and verdict (R, B, ...)."""
        self.optimiser.begin_step()
        return self._learn(x, target, digits)

    def _learn(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        loss_R, output = self.evaluate(x, target, digits)
        torch.autograd.backward(loss_R, torch.ones_like(loss_R))
        self.optimiser.step(self.networks.gradient())
        self.networks.refresh()
        return loss_R.detach(), self.objective.verdict(output).detach()

    def begin_evaluation(self) -> None:
        """Let layers apply what they have learned."""
        self.networks.model.eval()

    def evaluate(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Any]:
        """Loss (R,) and output without learning."""
        output = _full(self.networks.model(x))
        return self.objective.loss_R(output, target, digits, self.alpha_R), output

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`."""
        self.networks.select(keep)
        self.optimiser.select(self.networks.values, keep)
        self.alpha_R = None if self.alpha_R is None else self.alpha_R[keep]

    def state(self, row: int) -> dict[str, Tensor]:
        """The `state_dict` of one replica."""
        return self.networks.state(row)


def _full(output: Any) -> Any:
    """The output, a tuple of tensors, in full precision."""
    return type(output)(
        *(part.float() if part is not None and part.dtype is torch.bfloat16 else part for part in output)
    )


class CompiledStep(NetworkStep):
    """The whole step as one compiled graph, for the shapes of its first batch; others go operation by operation."""

    fused = False

    def __init__(self, networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant) -> None:
        super().__init__(networks, hypers, variant)
        self._shape: torch.Size | None = None
        self._compiled = torch.compile(self._graph, fullgraph=True, dynamic=False, **_limit_of_programs())

    def _learn(self, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        self._shape = self._shape or x.shape
        if x.shape != self._shape:
            return super()._learn(x, target, digits)
        loss_R, verdict = self._compiled(self.networks.values, x, target, digits)
        return loss_R, verdict

    def _graph(self, values: Tensor, x: Tensor, target: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        def loss(values: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            output = _full(self.networks.call(values, x))
            loss_R = self.objective.loss_R(output, target, digits, self.alpha_R)
            return loss_R.sum(), (loss_R, self.objective.verdict(output))

        gradient, (loss_R, verdict) = torch.func.grad(loss, has_aux=True)(values)
        self.optimiser.step(gradient)
        self.networks.refresh()
        return loss_R, verdict


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
        loss_R, verdict = self._outputs
        return loss_R.clone(), verdict.clone()

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


def can_compile(network: Any, device: str) -> bool:
    """Whether a step of this network can be one graph: what is dropped is drawn outside of it, on the CPU, and
    torch.compile does not follow a derivative through the running statistics of batch normalisation."""
    if not isinstance(network, nn.Module) or any(isinstance(layer, nn.Dropout) for layer in network.modules()):
        return False
    return device == "cuda" or not normalises(network)


def make_step(
    networks: ReplicaNetworks, hypers: Sequence[Hyperparameters], variant: Variant, *, compiled: bool
) -> NetworkStep:
    """The step of a chunk of ordinary networks."""
    graph = GraphedStep if networks.values.is_cuda else CompiledStep
    return (graph if compiled else NetworkStep)(networks, hypers, variant)

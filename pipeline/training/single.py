"""R networks that run one after the other, whatever they do, and are updated as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.variant import normalises
from pipeline.training.dropout import own_dropouts
from pipeline.training.network import Layout, ReplicaNetworks
from pipeline.training.outputs import over_parts


class SingleNetworks(ReplicaNetworks):
    """Each network is the module that it was, but for parameters that are rows of the blocks of `values`.

    While they learn, torch's global generators stand for each network where it has left them itself, so that what it
    drops does not depend on its neighbours.
    """

    def __init__(self, networks: Sequence[nn.Module], *, device: torch.device | str = "cpu") -> None:
        self.models = [network.to(device) for network in networks]
        self.normalise = normalises(self.models[0])
        self._dropouts = [own_dropouts(model, vmapped=False) for model in self.models]
        self._learning = True
        self._drawn: list[list[Tensor]] = []
        """By replica: the states of the global generators."""
        trained = [[each for each in model.parameters() if each.requires_grad] for model in self.models]
        self.layout = Layout(len(networks), [parameter.shape for parameter in trained[0]])
        self.values = torch.cat(
            [torch.stack(rows).detach().flatten() for rows in zip(*trained, strict=True)] or [torch.zeros(0)]
        )
        for module in (module for model in self.models for module in model.modules()):
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters = _leave_as_they_are  # type: ignore[method-assign]
        self._attach()

    def _attach(self) -> None:
        """Let the networks see `values`, and add their gradients to one vector."""
        self._gradient = torch.zeros_like(self.values)
        values, gradients = self.layout.split(self.values), self.layout.split(self._gradient)
        for row, model in enumerate(self.models):
            trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
            for parameter, value, gradient in zip(trained, values, gradients, strict=True):
                parameter.data, parameter.grad = value[row], gradient[row]

    def __call__(self, x: Tensor) -> Any:
        """Of inputs (R, B, ...)."""
        if torch.is_grad_enabled():
            self._gradient.zero_()
        outputs = []
        for row, model in enumerate(self.models):
            with self._own_draws(row):
                outputs.append(model(x[row]))
        if len(outputs) == 1:
            return over_parts(lambda part: part.unsqueeze(0), *outputs)
        return over_parts(lambda *parts: torch.stack(parts), *outputs)

    @contextmanager
    def _own_draws(self, row: int) -> Iterator[None]:
        if not (self._learning and self._drawn):
            yield
            return
        generators = self._global_generators()
        before = [generator.get_state() for generator in generators]
        try:
            for generator, state in zip(generators, self._drawn[row], strict=True):
                generator.set_state(state)
            yield
            self._drawn[row] = [generator.get_state() for generator in generators]
        finally:
            for generator, state in zip(generators, before, strict=True):
                generator.set_state(state)

    def _global_generators(self) -> list[torch.Generator]:
        """Those that modules draw from where they are."""
        device = self.values.device
        of_gpu = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
        return [torch.default_generator, *of_gpu]

    def train(self, learning: bool = True) -> None:
        """Let layers learn, or apply what they have learned."""
        self._learning = learning
        for model in self.models:
            model.train(learning)

    def use_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Give every replica the generator of what `nn.Dropout` drops; all else that it draws follows from that."""
        for dropouts, generator in zip(self._dropouts, generators, strict=True):
            for dropout in dropouts:
                dropout.generators = [generator]
        self._drawn = []
        for own in generators:
            [seed] = torch.randint(2**63 - 1, (1,), generator=own.clone_state()).tolist()
            devices = [generator.device for generator in self._global_generators()]
            self._drawn.append([torch.Generator(device).manual_seed(seed).get_state() for device in devices])

    def gradient(self) -> Tensor:
        """Of every replica."""
        return self._gradient

    def refresh(self) -> None:
        """Nothing is to be done: they see the values themselves."""

    def state(self, row: int) -> dict[str, Tensor]:
        """The `state_dict` of one replica; a copy."""
        state = self.models[row].state_dict()
        return {name: part.clone(memory_format=torch.contiguous_format) for name, part in state.items()}

    def buffers(self) -> Iterable[Tensor]:
        """Of all networks."""
        return (buffer for model in self.models for buffer in model.buffers())

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order."""
        rows = keep.tolist()
        self.values = self.layout.select(self.values, keep)
        self.layout = Layout(len(rows), self.layout.shapes)
        self.models = [self.models[row] for row in rows]
        self._dropouts = [self._dropouts[row] for row in rows]
        self._drawn = [self._drawn[row] for row in rows] if self._drawn else []
        self._attach()


def _leave_as_they_are() -> None:
    """In place of what would move the weights of a recurrent layer out of the vector."""

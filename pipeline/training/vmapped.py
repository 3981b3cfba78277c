"""R networks that run as one under `torch.func.vmap`, whatever dimensions their `forward` names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.models.variant import normalises
from pipeline.training.dropout import own_dropouts
from pipeline.training.layers import NARROW
from pipeline.training.network import Layout, ReplicaNetworks
from pipeline.training.outputs import over_parts, parts_of


class VmappedNetworks(ReplicaNetworks):
    """One of the networks is called on the parameters and buffers of all.

    Weights of linear layers are kept (in, out), in which order their gradients come, but up to `NARROW` outputs.
    """

    def __init__(self, networks: Sequence[nn.Module], *, device: torch.device | str = "cpu") -> None:
        networks = [network.to(device) for network in networks]
        self._model = networks[0]
        self.normalise = normalises(self._model)
        parameters = dict(self._model.named_parameters())
        states = [dict((*network.named_parameters(), *network.named_buffers())) for network in networks]
        stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self._trained = [name for name, parameter in parameters.items() if parameter.requires_grad]
        wide = {
            layer.weight
            for layer in self._model.modules()
            if isinstance(layer, nn.Linear) and layer.out_features > NARROW
        }
        self._turned = {name for name in self._trained if parameters[name] in wide}
        blocks = [self._turn(name, stacked.pop(name)) for name in self._trained]
        self.layout = Layout(len(networks), [block.shape[1:] for block in blocks])
        self.values = torch.cat([block.flatten() for block in blocks] or [torch.zeros(0)])
        self._kept = stacked
        """Buffers, and parameters that are not trained, (R, ...) by name."""
        self._sources = self._first_names()
        self._dropouts = own_dropouts(self._model, vmapped=True)
        self._attach()

    def _first_names(self) -> dict[str, str]:
        """Name in the `state_dict` -> the first name of the same tensor, where it has several."""
        model = self._model
        first = {tensor: name for name, tensor in (*model.named_parameters(), *model.named_buffers())}
        named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
        names = {name: first[tensor] for name, tensor in named}
        return {name: names[name] for name in model.state_dict()}

    def _turn(self, name: str, block: Tensor) -> Tensor:
        """A block (R, *shape) from the order of its network to that in which it is kept, or back."""
        return block.transpose(1, 2) if name in self._turned else block

    def _numbers(self) -> dict[str, Tensor]:
        """All that the network computes with, (R, ...) by name."""
        return {**{name: self._turn(name, block) for name, block in self._parameters.items()}, **self._kept}

    def _attach(self) -> None:
        """Let the network see `values`."""
        self._gradient = torch.zeros_like(self.values)
        blocks = self.layout.split(self.values)
        self._parameters = {name: nn.Parameter(block) for name, block in zip(self._trained, blocks, strict=True)}
        self._gradients = self.layout.split(self._gradient)

    def __call__(self, x: Tensor) -> Any:
        """Of inputs (R, B, ...)."""
        form: Any = None

        def call(numbers: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
            nonlocal form
            form = torch.func.functional_call(self._model, numbers, (x,))
            return tuple(parts_of(form))

        with _batched_attention():
            parts = iter(torch.func.vmap(call, randomness="error")(self._numbers(), x))
        return over_parts(lambda _: next(parts), form)

    def train(self, learning: bool = True) -> None:
        """Let layers learn, or apply what they have learned."""
        self._model.train(learning)

    def use_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Give every replica the generator of what it drops."""
        for dropout in self._dropouts:
            dropout.generators = generators

    def gradient(self) -> Tensor:
        """Of every replica."""
        for parameter, gradient in zip(self._parameters.values(), self._gradients, strict=True):
            if parameter.grad is None:
                gradient.zero_()
            else:
                gradient.copy_(parameter.grad)
                parameter.grad = None
        return self._gradient

    def refresh(self) -> None:
        """Nothing is to be done: they see the values themselves."""

    def state(self, row: int) -> dict[str, Tensor]:
        """The `state_dict` of one replica; a copy."""
        numbers, kept = self._numbers(), torch.contiguous_format
        return {name: numbers[first][row].detach().clone(memory_format=kept) for name, first in self._sources.items()}

    def buffers(self) -> Iterable[Tensor]:
        """Of all networks."""
        return self._kept.values()

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, in that order."""
        self.values = self.layout.select(self.values, keep)
        self.layout = Layout(len(keep), self.layout.shapes)
        self._kept = {name: tensor[keep] for name, tensor in self._kept.items()}
        for dropout in self._dropouts:
            dropout.generators = [dropout.generators[position] for position in keep.tolist()]
        self._attach()


@contextmanager
def _batched_attention() -> Iterator[None]:
    """Inside, attention is not computed by kernels that vmap would call replica by replica."""
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(before)

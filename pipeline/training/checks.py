"""Whether a network that a person brought can be trained so that results mean something and can be made again."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Structure
from pipeline.models.initial import build_network
from pipeline.models.variant import Variant
from pipeline.training.faults import failed_in, sentence
from pipeline.training.plan import bytes_of, size_of

BATCH = 4
GIGABYTE = 1e9


def check_network(variant: Variant, structure: Structure, outputs: int, *, samples: int = 0) -> None:
    """Raise InputError unless a network takes samples, gives (B, outputs), can be trained, and gives the same again.

    `samples` are those of one training, with the ones that are held out, which must fit into memory.
    """
    if variant.make_step is not None:
        return
    check = _Check(variant, structure)
    check.fits_into_memory(check.trains_something(), 0, samples)  # before it is made
    check.takes_samples(outputs)
    check.fits_into_memory(*size_of(variant, structure), samples)
    check.draws_from_torch_alone()
    check.evaluates_alike()


@cache
def fault_of(variant: Variant, structure: Structure) -> str:
    """What is wrong with a structure that a search proposes, where the preset's is sound; empty if nothing is."""
    if not variant.foreign or structure == variant.preset.structure:
        return ""
    outputs = variant.build().eval()(variant.example(2)).shape[-1]
    try:
        check_network(variant, structure, outputs)
    except InputError as error:
        return str(error)
    return ""


class _Check:
    """The rules, each with what breaks it and the way out."""

    def __init__(self, variant: Variant, structure: Structure) -> None:
        self.variant, self.structure = variant, structure
        if variant.integer_inputs:
            self.x = variant.example(BATCH)
        else:
            self.x = torch.randn(BATCH, *variant.input_shape, generator=torch.Generator().manual_seed(0))

    def build(self, name: str = "check") -> nn.Module:
        """A network with the weights of this name."""
        return build_network(self.variant, 0, name, structure=self.structure)

    def trains_something(self) -> int:
        """How many parameters there are."""
        try:
            trained = self.variant.count(self.structure)
        except Exception as error:
            options = ", ".join(f"{name}={value}" for name, value in self.structure) or "none"
            raise InputError(
                f"a network must be made from its options, but {self.variant.name} with {options} raised "
                f"{type(error).__name__}: {sentence(str(error))}; change the class or the options"
            ) from error
        if not trained:
            raise InputError(
                f"a network must have parameters to train, but {self.variant.name} has none that require a gradient; "
                f"keep its layers as attributes or in an nn.ModuleList, so that PyTorch finds them"
            )
        return trained

    def fits_into_memory(self, parameters: int, activations: int, samples: int) -> None:
        """What one training takes is there."""
        import psutil

        free, batch_size = psutil.virtual_memory().available, self.variant.preset.batch_size
        needed = bytes_of(self.variant, parameters, activations, batch_size, samples)
        if needed > free:
            raise InputError(
                f"a training must fit into memory, but {self.variant.name} with {parameters:,} parameters, "
                f"batch_size={batch_size} and {samples:,} samples takes about {needed / GIGABYTE:.1f} GB of "
                f"{free / GIGABYTE:.1f} GB that are free; choose a smaller network, batch size or number of samples"
            )

    def takes_samples(self, outputs: int) -> None:
        """It gives (B, outputs) of a batch, learning and evaluating."""
        network, given = self.build(), dict[nn.Module, str]()

        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            given[module] = " and ".join(str(tuple(each.shape)) for each in inputs if isinstance(each, Tensor))

        for module in network.modules():
            module.register_forward_pre_hook(note)
        with torch.random.fork_rng(devices=[]), self._named_fault(network, given):
            output = network.eval()(self.x)
            network.train()(self.x)
        found = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        if found != (BATCH, outputs):
            raise InputError(
                f"a network must give {outputs} number{'s' * (outputs > 1)} for each sample, a tensor "
                f"({BATCH}, {outputs}) for {BATCH} samples, but {self.variant.name} gave {found}; end it with a layer "
                f"of {outputs} output{'s' * (outputs > 1)}"
            )

    @contextmanager
    def _named_fault(self, network: nn.Module, given: dict[nn.Module, str]) -> Iterator[None]:
        """Inside, an error is told with the layer that it was raised in, and what that was given."""
        try:
            yield
        except Exception as error:
            layer = failed_in(error)
            names = {module: name for name, module in network.named_modules()}
            name = f" {names[layer]}" if layer is not None and names.get(layer) else ""
            kind = f"its layer{name} ({type(layer).__name__})" if layer is not None else "it"
            shapes = f", given {given[layer]}," if layer is not None and given.get(layer) else ""
            raise InputError(
                f"a network must take samples of the shape {self.variant.input_shape}, but of {self.variant.name} "
                f"{kind}{shapes} failed with {type(error).__name__}: {sentence(str(error))}; change that layer, or use "
                f"other data"
            ) from error

    def draws_from_torch_alone(self) -> None:
        """The same seed gives the same weights, and the same while learning."""
        first, second = self.build(), _without_other_draws(self.build, self.variant)
        for name, tensor in first.state_dict().items():
            if not _same(tensor, second.state_dict()[name]):
                raise InputError(
                    f"a network must draw its weights from torch alone, but {name} of {self.variant.name} is not the "
                    f"same again with the same seed; draw it with torch's functions, and without a seed"
                )
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            state = torch.get_rng_state()
            one = first.train()(self.x)
            torch.set_rng_state(state)
            other = _without_other_draws(lambda: second.train()(self.x), self.variant)
        if not _same(one, other):
            raise InputError(
                f"a network must draw from torch alone while it learns, but {self.variant.name} does not give the "
                f"same again with the same seed; draw with torch's functions"
            )

    def evaluates_alike(self) -> None:
        """An evaluation depends on parameters and buffers alone."""
        network, other = self.build().eval(), self.build("other").eval()
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            first = network(self.x)
            if not _same(first, network(self.x)):
                raise InputError(
                    f"a network must give the same each time that it is evaluated, but {self.variant.name} does not; "
                    f"let it draw only where self.training is true"
                )
            other.load_state_dict(network.state_dict())
            if not _same(first, other(self.x)):
                raise InputError(
                    f"a network must keep all numbers that it computes with as parameters or buffers, but "
                    f"{self.variant.name} gives something else with the same ones; keep them with register_buffer"
                )


def _without_other_draws(call: Callable[[], Any], variant: Variant) -> Any:
    """What a call gives; raises InputError where it draws from Python's or NumPy's global generator."""
    before = _other_states()
    result = call()
    if _other_states() != before:
        raise InputError(
            f"a network must draw from torch alone, but {variant.name} draws from Python's or NumPy's global "
            f"generator, which no seed of a training reaches; draw with torch's functions"
        )
    return result


def _other_states() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state()))  # noqa: NPY002 # looked at, and not drawn from


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)

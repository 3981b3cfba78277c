"""What a variant is: a row with its source, its factors, its preset and a way to build its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.hyperparameters import (
    CHOICES,
    DEFAULTS,
    HYPERPARAMETERS,
    Hyperparameters,
    Option,
    Structure,
    Value,
)
from pipeline.models.metrics import ERROR, Metric
from pipeline.models.objectives import Objective
from pipeline.models.transforms import Transforms

Level = bool | int | str
"""Of a factor."""
OF_OBJECTIVES = {"alpha": "weighs an auxiliary loss"}
"""Hyperparameters that only some objectives read, and what they are for."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model variant: all that training it needs, so that a worker process is sent the variant itself.

    Whatever it is made of must therefore be a value or a function of a module.
    """

    name: str
    family: str
    """Variants of one family are told apart by their factors."""
    task: str
    """What is learned, as it is logged."""
    title: str
    """The same in words: `names the class of a sample`."""
    paper: str = ""
    """Where it comes from, in a word, such as the number of a report."""
    source: str = ""
    """The same in full, with what it does not give."""
    factors: Mapping[str, Level] = field(default_factory=dict, hash=False)
    """What it has, in comparison with the others of its family: factor -> level, the same factors for all of them."""
    objective: Objective
    """What the network's outputs mean."""
    metrics: tuple[Metric, ...] = (ERROR,)
    """What is measured; the first one is searched and ranked by."""
    transforms: Transforms = field(default_factory=Transforms, hash=False)
    input_shape: tuple[int, ...]
    """Of `x` of one sample."""
    integer_inputs: bool = False
    """Whether `x` holds indices, such as those of words, which reach the network as they are."""
    preset: Hyperparameters
    """The configuration to begin with, such as the one that a report chose, with a value for every option."""
    options: tuple[Option, ...] = ()
    """What can be chosen in the structure."""
    fixed: frozenset[str] = frozenset()
    """Hyperparameters that the variant does not have."""
    make: Callable[..., nn.Module]
    """Takes the options by name and makes the network for one replica, with arbitrary weights."""
    foreign: bool = False
    """Whether a person brought the network: it is of any modules, and draws its own initial weights."""
    reference: str = ""
    """Of a person's model: what they typed, such as `models.py:Wide`."""
    code: str = ""
    """Of a person's model: a digest of the program, by which results are told apart that different programs gave."""
    folder: Path | None = None
    """Of a person's model: where the folder is in which they work, if the model is in a file."""
    make_step: Callable[..., Any] | None = None
    """What trains it where that is not autograd: takes structure, hyperparameters and generators of weights by replica,
    and objective, and gives a `pipeline.training.step.Step`."""

    def build(self, structure: Structure | None = None) -> nn.Module:
        """The network for one replica, with arbitrary weights. Without a structure: that of the preset.

        torch's global generator is where it was before, also where the network draws from it.
        """
        options = dict(self.preset.structure if structure is None else structure)
        if not self.foreign:
            return self.make(**options)
        with torch.random.fork_rng(devices=[]):
            network = self.make(**options)
            self._materialise(network)
        return network

    def _materialise(self, network: nn.Module) -> None:
        """Let lazy modules find their sizes, and draw their weights."""
        if any(map(nn.parameter.is_lazy, chain(network.parameters(), network.buffers()))):
            learns = network.training
            with torch.no_grad():
                network.eval()(self.example())
            network.train(learns)

    def example(self, count: int = 1) -> Tensor:
        """So many samples of zeros: (count, *input_shape)."""
        return torch.zeros(count, *self.input_shape, dtype=torch.int64 if self.integer_inputs else torch.float32)

    def without_numbers(self, structure: Structure | None = None) -> nn.Module:
        """The network on the device `meta`, where numbers are neither drawn nor kept, or else an ordinary one, where a
        foreign network cannot be made there."""
        try:
            with torch.device("meta"):
                return self.build(structure)
        except Exception:  # of any kind: it is a person's own program
            if not self.foreign:
                raise
        return self.build(structure)

    def count(self, structure: Structure | None = None) -> int:
        """Number of trained numbers."""
        parameters = self.without_numbers(structure).parameters()
        return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)

    @property
    def parameters(self) -> int:
        """Number of trained numbers of the preset."""
        return self.count()

    @property
    def metric(self) -> Metric:
        """What is searched and ranked by."""
        return self.metrics[0]

    @property
    def params(self) -> dict[str, Level]:
        """What variants are grouped by, as it is logged."""
        return {"arch": self.family, "task": self.task, **self.factors}

    @cached_property
    def absent(self) -> frozenset[str]:
        """Hyperparameters that have no effect here, whatever the others are."""
        return self.fixed | (OF_OBJECTIVES.keys() - self.objective.hyperparameters)

    @cached_property
    def hyperparameters(self) -> dict[str, type]:
        """The names that a grid or a search space may use here, with their types."""
        common = {name: kind for name, kind in HYPERPARAMETERS.items() if name not in self.absent}
        return {**common, **{option.name: option.kind for option in self.options}}

    def kind_of(self, name: str, *others: str) -> type:
        """The type of a hyperparameter.

        Raises UnknownNameError with the near misses, also among `others`, where the variant has no such hyperparameter,
        and InputError where its objective does not read it.
        """
        if name in self.absent and (rule := self._without(name)):
            raise InputError(f"{rule} got {name}")
        if name not in self.hyperparameters:
            raise UnknownNameError("hyperparameter", name, [*self.hyperparameters, *others])
        return self.hyperparameters[name]

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The hyperparameters that are names, with the names that they may be."""
        return {**CHOICES, **self.transforms.choices}

    @cached_property
    def defaults(self) -> dict[str, Value]:
        """The values that need not be said: what is ordinary, where the preset has it as well."""
        options = {option.name: option.default for option in self.options if option.default is not None}
        preset = self.preset.as_dict()
        return {name: value for name, value in {**DEFAULTS, **options}.items() if preset[name] == value}

    def completed(self, hyper: Hyperparameters) -> Hyperparameters:
        """One that was noted before the variant had all of its options, which were then as in the preset."""
        options = dict(self.preset.structure)
        known = {name: value for name, value in hyper.structure if name in options}
        return replace(hyper, structure=tuple({**options, **known}.items()))

    def check(self, hyper: Hyperparameters) -> Hyperparameters:
        """Return `hyper` if it makes sense for this variant; raise InputError otherwise."""
        values, preset = hyper.as_dict(), self.preset.as_dict()
        for name in sorted(self.absent):
            if values[name] != preset[name]:
                rule = self._without(name) or f"{self.name} has {name}={preset[name]} and no other, but"
                raise InputError(f"{rule} got {name}={values[name]}")
        for name, known in self.transforms.choices.items():
            if values[name] not in known:
                raise UnknownNameError(name, str(values[name]), known)
        if [name for name, _ in hyper.structure] != [option.name for option in self.options]:
            raise InputError(
                f"a configuration of {self.name} has the options {[option.name for option in self.options]}, "
                f"but got {[name for name, _ in hyper.structure]}"
            )
        for option in self.options:
            option.check(values[option.name])
        if hyper.batch_size == 1 and normalises(self.build(hyper.structure)):
            raise InputError(
                f"batch normalisation needs at least 2 samples a step, but got batch_size=1 for {self.name}; "
                f"choose a larger one{'' if self.foreign else ', or batch_norm=off'}"
            )
        return hyper

    def shown(self, hyper: Hyperparameters) -> dict[str, Value]:
        """What has an effect here."""
        without = self.absent | {idle for idle, option in self._needs if dict(hyper.structure).get(option) is False}
        return {name: value for name, value in hyper.effective.items() if name not in without}

    def _without(self, name: str) -> str:
        return f"{name} {OF_OBJECTIVES[name]}, but {self.name} has none;" if name in OF_OBJECTIVES else ""

    @property
    def _needs(self) -> list[tuple[str, str]]:
        """Hyperparameters that have no effect while an option is off."""
        return [(idle, option.name) for option in self.options for idle in option.enables]


def normalises(network: nn.Module) -> bool:
    """Whether any layer is a batch normalisation."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())

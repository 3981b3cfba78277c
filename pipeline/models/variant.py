"""What a variant is: a row with its source, its factors, its preset and a way to build its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from pipeline.base.errors import InputError
from pipeline.mini import Sequential as MiniNetwork
from pipeline.models.hyperparameters import (
    DEFAULTS,
    HYPERPARAMETERS,
    Hyperparameters,
    Option,
    Structure,
    Value,
)
from pipeline.models.objectives import Objective

Task = Literal["pairs", "digits", "points"]
"""What is learned: to compare two digits, to recognise single digits, or to tell points inside of a disc."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model variant."""

    name: str
    arch: str
    """The family: what is left of the name without `_digits`, `_ws` and `_al`."""
    report: str
    """Number of the report that it comes from, such as `000`."""
    source: str
    """The report, and what it does not give."""
    task: Task
    objective: Objective
    """What the network's outputs mean."""
    weight_sharing: bool = False
    """One trunk for both digits instead of one each."""
    auxiliary_loss: bool = False
    """Whether alpha weighs a second loss."""
    preset: Hyperparameters
    """The configuration that the report chose, with a value for every option."""
    options: tuple[Option, ...]
    """What can be chosen in the structure."""
    fixed: frozenset[str] = frozenset()
    """Hyperparameters that the variant does not have."""
    make: Callable[..., Any]
    """Takes the options by name and makes the network for one replica, with arbitrary weights."""

    def build(self, structure: Structure | None = None) -> Any:
        """The network for one replica, with arbitrary weights: an `nn.Module`, or one of `pipeline.mini`.

        Without a structure: that of the preset.
        """
        return self.make(**dict(self.preset.structure if structure is None else structure))

    def count(self, structure: Structure | None = None) -> int:
        """Number of trained numbers."""
        with torch.device("meta"):
            network = self.build(structure)
        if isinstance(network, MiniNetwork):
            return network.count
        return sum(parameter.numel() for parameter in network.parameters())

    @property
    def parameters(self) -> int:
        """Number of trained numbers of the preset."""
        return self.count()

    @property
    def factors(self) -> dict[str, Any]:
        """What variants are grouped by, each a value of its own."""
        return {"arch": self.arch, "task": self.task, "ws": self.weight_sharing, "al": self.auxiliary_loss}

    @property
    def recognises_digits(self) -> bool:
        """Whether it is trained to name digits, so that there is a digit error to report."""
        return self.task == "digits" or (self.task == "pairs" and self.auxiliary_loss)

    @cached_property
    def hyperparameters(self) -> dict[str, type]:
        """The names that a grid or a search space may use here, with their types."""
        idle = self.fixed | (frozenset() if self.auxiliary_loss else {"alpha"})
        common = {name: kind for name, kind in HYPERPARAMETERS.items() if name not in idle}
        return {**common, **{option.name: option.kind for option in self.options}}

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
        if hyper.alpha and not self.auxiliary_loss:
            raise InputError(f"alpha weighs an auxiliary loss, but {self.name} has none; got alpha={hyper.alpha}")
        values, preset = hyper.as_dict(), self.preset.as_dict()
        for name in sorted(self.fixed):
            if values[name] != preset[name]:
                raise InputError(f"{self.name} has {name}={preset[name]} and no other, but got {name}={values[name]}")
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
                f"choose a larger one, or batch_norm=off"
            )
        return hyper

    def shown(self, hyper: Hyperparameters) -> dict[str, Value]:
        """What has an effect here (no alpha without an auxiliary loss)."""
        without = self.fixed | (frozenset() if self.auxiliary_loss else {"alpha"})
        if dict(hyper.structure).get("auxiliary") is False:
            without |= {"alpha"}
        return {name: value for name, value in hyper.effective.items() if name not in without}


def normalises(network: Any) -> bool:
    """Whether any layer is a batch normalisation."""
    return isinstance(network, nn.Module) and any(
        isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in network.modules()
    )

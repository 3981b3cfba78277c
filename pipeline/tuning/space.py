"""Search spaces: what a search may vary, and what it may not combine."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from pipeline.base.errors import InputError
from pipeline.base.stored import SIGNIFICANT_DIGITS
from pipeline.models.hyperparameters import Hyperparameters, Value
from pipeline.tuning.constraints import Constraint
from pipeline.tuning.dimensions import Dimension


@dataclass(frozen=True)
class Condition:
    """A dimension is searched only where another hyperparameter has one of these values."""

    name: str
    values: tuple[Value, ...]


def _stored(dimension: Dimension) -> dict[str, Any]:
    """As it is part of a digest."""
    return {
        SIGNIFICANT_DIGITS if name == "significant_digits" else name: value for name, value in asdict(dimension).items()
    }


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search of one model may vary."""

    dimensions: Mapping[str, Dimension]
    """In the order of their file, so that a condition names what comes before."""
    preset: Hyperparameters
    """Gives the values of what is not searched, and the configuration that a search tries first."""
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    """By the name of the dimension that depends on it."""
    constraints: tuple[Constraint, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all that the space says, in hexadecimal."""
        dimensions = {
            name: [type(dimension).__name__, _stored(dimension)] for name, dimension in self.dimensions.items()
        }
        conditions = {name: asdict(condition) for name, condition in self.conditions.items()}
        constraints = [constraint.text for constraint in self.constraints]
        content = [dimensions, conditions, constraints, self.preset.as_dict()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def preset_parameters(self) -> dict[str, Value]:
        """The preset's values of what is searched."""
        return self.parameters(self.preset)

    def parameters(self, hyper: Hyperparameters) -> dict[str, Value]:
        """A configuration's values of what is searched."""
        values = hyper.as_dict()
        return self.choose(lambda name, _: values[name])

    def choose(self, value_of: Callable[[str, Dimension], Value]) -> dict[str, Value]:
        """Parameters of which each is what `value_of` says; what a condition rules out is left out."""
        values = self.preset.as_dict()
        chosen: dict[str, Value] = {}
        for name, dimension in self.dimensions.items():
            condition = self.conditions.get(name)
            if condition is None or values[condition.name] in condition.values:
                values[name] = chosen[name] = dimension.rounded(value_of(name, dimension))
        return chosen

    def suggest(self, trial: optuna.Trial) -> Hyperparameters:
        """The configuration that the study's sampler proposes."""
        return self.hyper(self.choose(lambda name, dimension: dimension.suggest(trial, name)))

    def hyper(self, parameters: Mapping[str, Value]) -> Hyperparameters:
        """The configuration with these parameters; what is not among them is as in the preset."""
        return self.preset.replaced(parameters)

    def distributions(self, parameters: Iterable[str]) -> dict[str, BaseDistribution]:
        """What Optuna calls the dimensions of these parameters."""
        return {name: self.dimensions[name].distribution for name in parameters}

    def admits(self, parameters: Mapping[str, Value]) -> bool:
        """Whether the configuration with these parameters fulfils all constraints."""
        try:
            values = self.hyper(parameters).as_dict()
        except InputError:  # such as a schedule that would end above its beginning
            return False
        return all(constraint.holds(values) for constraint in self.constraints)

    def grid(self, names: Iterable[str]) -> list[dict[str, Value]]:
        """All combinations of the values of these dimensions that the space admits, the last one changing fastest.

        Those that differ only in what a condition rules out are one.
        """
        chosen, preset = list(names), self.preset.as_dict()
        values = [self.dimensions[name].grid for name in chosen]
        found: list[dict[str, Value]] = []
        for combination in itertools.product(*values):
            given = {**preset, **dict(zip(chosen, combination, strict=True))}
            every = self.choose(lambda name, _, given=given: given[name])  # type: ignore[misc]
            if self.admits(every):
                found.append({name: value for name, value in every.items() if name in chosen})
        return [dict(items) for items in dict.fromkeys(tuple(parameters.items()) for parameters in found)]

"""Search spaces: what a search may vary, read from `search_spaces/*.yaml`.

A file is one mapping from hyperparameter to dimension:

    lr:         {type: float, low: 1e-4, high: 1e-2, log: true}
    batch_size: {type: choice, values: [10, 25, 50, 100]}
    epochs:     {type: int, low: 10, high: 50, step: 5}

What is not named keeps the value of the model's preset; the options of the model's structure are named like any other.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from pipeline.errors import InputError, SpaceError, UnknownNameError, near_misses
from pipeline.models.hyperparameters import BATCH_NORM, Hyperparameters, Value
from pipeline.models.variant import Variant
from pipeline.tuning.strict_yaml import Node, read_yaml

USE_CHOICE: dict[type, str] = {str: "names; use type: choice", bool: "true or false; use type: choice"}
SPACES = Path(__file__).parents[2] / "search_spaces"


@dataclass(frozen=True, kw_only=True)
class FloatRange:
    """Real numbers from `low` to `high`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest."""
        return self.low, self.high

    @property
    def grid(self) -> tuple[float, ...]:
        """All values; none without a step."""
        if self.step is None:
            return ()
        steps = round((self.high - self.low) / self.step)
        return tuple(round(self.low + index * self.step, 12) for index in range(steps + 1))

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Let the sampler choose."""
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def __contains__(self, value: Value) -> bool:
        return (
            not isinstance(value, str)
            and self.low <= value <= self.high
            and (self.step is None or _on_grid(value - self.low, self.step))
        )


@dataclass(frozen=True, kw_only=True)
class IntRange:
    """Whole numbers from `low` to `high` in steps of `step`."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the greatest."""
        return self.low, self.high

    @property
    def grid(self) -> tuple[int, ...]:
        """All values."""
        return tuple(range(self.low, self.high + 1, self.step))

    def suggest(self, trial: optuna.Trial, name: str) -> int:
        """Let the sampler choose."""
        return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)

    def __contains__(self, value: Value) -> bool:
        return not isinstance(value, str) and self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values, the least and the greatest among them."""
        return self.values

    @property
    def grid(self) -> tuple[Value, ...]:
        """All values."""
        return self.values

    def suggest(self, trial: optuna.Trial, name: str) -> Value:
        """Let the sampler choose."""
        chosen: Any = trial.suggest_categorical(name, self.values)
        value: Value = chosen
        return value

    def __contains__(self, value: Value) -> bool:
        return value in self.values


Dimension = FloatRange | IntRange | Choice


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search of one model may vary."""

    dimensions: Mapping[str, Dimension]
    preset: Hyperparameters
    """Gives the values of what is not searched, and the configuration that a search tries first."""

    @property
    def digest(self) -> str:
        """SHA-256 of the dimensions and of the values that stay fixed, in hexadecimal."""
        content = {name: [type(dim).__name__, asdict(dim)] for name, dim in self.dimensions.items()}
        fixed = {name: value for name, value in self.preset.as_dict().items() if name not in self.dimensions}
        return hashlib.sha256(json.dumps([content, fixed], sort_keys=True).encode()).hexdigest()

    @property
    def preset_parameters(self) -> dict[str, Value]:
        """The preset's values of what is searched."""
        return {name: value for name, value in self.preset.as_dict().items() if name in self.dimensions}

    def grid(self, names: Iterable[str]) -> list[dict[str, Value]]:
        """All combinations of the values of these dimensions, the last one changing fastest."""
        chosen = list(names)
        values = [self.dimensions[name].grid for name in chosen]
        return [dict(zip(chosen, combination, strict=True)) for combination in itertools.product(*values)]

    def suggest(self, trial: optuna.Trial) -> Hyperparameters:
        """The configuration that the study's sampler proposes."""
        return self.preset.having({name: dim.suggest(trial, name) for name, dim in self.dimensions.items()})


def load_space(variant: Variant, path: Path | None = None, *, complete: bool = False) -> Space:
    """Read the space of a variant: `search_spaces/<model>.yaml`, or the file at `path`.

    A `complete` search tries all combinations, so every dimension must have finitely many values, but the preset need
    not be among them. Raises UnknownNameError when there is no such file, and SpaceError, naming file, line, rule and
    near miss, when it breaks a rule or holds something that the variant does not have.
    """
    path = path or SPACES / f"{variant.name}.yaml"
    if not path.exists():
        spaces = (f"{SPACES.name}/{other.name}" for other in SPACES.glob("*.yaml"))
        raise UnknownNameError("search space", str(path), spaces)
    name = str(path)
    root = read_yaml(path)
    if not isinstance(root.value, dict) or not root.value:
        raise SpaceError(name, root.line, f"a search space must be a mapping of hyperparameters, but got {root.kind}")
    known = list(variant.hyperparameters)
    dimensions = {}
    for key, node in root.value.items():
        if key == "alpha" and not variant.auxiliary_loss:
            raise SpaceError(name, node.line, f"alpha weighs an auxiliary loss, but {variant.name} has none; remove it")
        if key not in known:
            raise SpaceError(name, node.line, f"unknown hyperparameter {key!r}; {near_misses(key, known)}")
        dimensions[key] = _Reader(name, key, node, variant).dimension()
    space = Space(dimensions=dimensions, preset=variant.preset)
    _check_combinations(name, root.value, space, variant)
    for key, dimension in dimensions.items():
        if complete and not dimension.grid:
            raise SpaceError(
                name, root.value[key].line, f"{key}: all combinations are tried, so give a step, or type: choice"
            )
    for key, value in space.preset_parameters.items():
        if not complete and value not in dimensions[key]:
            line = root.value[key].line
            raise SpaceError(
                name, line, f"{key} must admit {value}, the preset of {variant.name}, which every search tries first"
            )
    return space


def _check_combinations(path: str, fields: Mapping[str, Node], space: Space, variant: Variant) -> None:
    """Refuse a space in which a schedule could end above its beginning, or a single sample be normalised."""
    extremes: dict[str, Value] = {}
    for name, end in (("lr", min), ("lr_min", max)):
        if name in space.dimensions:
            extremes[name] = end(space.dimensions[name].ends)
    schedule = space.dimensions.get("schedule")
    schedules = schedule.values if isinstance(schedule, Choice) else (space.preset.schedule,)
    for value in schedules:
        try:
            space.preset.having({**extremes, "schedule": value})
        except InputError as error:
            raise SpaceError(path, fields["lr_min" if "lr_min" in fields else "lr"].line, str(error)) from None
    batch_norm = space.dimensions.get(BATCH_NORM.name)
    if "batch_size" in space.dimensions and isinstance(batch_norm, Choice) and True in batch_norm.values:
        try:
            least = min(space.dimensions["batch_size"].ends)
            variant.check(space.preset.having({"batch_size": least, BATCH_NORM.name: True}))
        except InputError as error:
            raise SpaceError(path, fields["batch_size"].line, str(error)) from None


class _Reader:
    """Reads one dimension; every failure names the hyperparameter and the line."""

    def __init__(self, path: str, key: str, node: Node, variant: Variant) -> None:
        self.path, self.key, self.node, self.variant = path, key, node, variant
        self.kind = variant.hyperparameters[key]

    def fail(self, message: str, node: Node | None = None) -> SpaceError:
        return SpaceError(self.path, (node or self.node).line, f"{self.key}: {message}")

    def dimension(self) -> Dimension:
        fields = self.node.value
        if not isinstance(fields, dict) or "type" not in fields:
            raise self.fail(f"must be a mapping with a type (float, int or choice), but got {self.node.kind}")
        readers: dict[str, Callable[[dict[str, Node]], Dimension]] = {
            "float": self._float_range,
            "int": self._int_range,
            "choice": self._choice,
        }
        kind = fields["type"].value
        if not isinstance(kind, str) or kind not in readers:
            raise self.fail(f"unknown type {kind!r}; {near_misses(str(kind), list(readers))}", fields["type"])
        return readers[kind](fields)

    def _only(self, fields: dict[str, Node], required: set[str], optional: set[str]) -> None:
        for name, node in fields.items():
            if name not in required | optional | {"type"}:
                raise self.fail(f"unknown key {name!r}; {near_misses(name, sorted(required | optional))}", node)
        missing = required - fields.keys()
        if missing:
            raise self.fail(f"{', '.join(sorted(missing))} is missing")

    def _name(self, node: Node) -> str:
        """A name that this hyperparameter may have."""
        if not isinstance(node.value, str):
            raise self.fail(f"must be a name, but got {node.value!r} ({node.kind})", node)
        self._admitted(node.value, node)
        return node.value

    def _number(self, node: Node) -> float | int:
        """A number that this hyperparameter may have."""
        value = self._finite(node)
        self._admitted(value, node)
        return value

    def _finite(self, node: Node) -> float | int:
        """A number of the hyperparameter's kind."""
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fail(f"must be a finite number, but got {value!r} ({node.kind})", node)
        if self.kind is int and not isinstance(value, int):
            raise self.fail(f"must be a whole number, but got {value}", node)
        return value

    def _switch(self, node: Node) -> bool:
        """On or off."""
        if not isinstance(node.value, bool):
            raise self.fail(f"must be true or false, but got {node.value!r} ({node.kind})", node)
        return node.value

    def _admitted(self, value: Value, node: Node) -> None:
        try:
            self.variant.check(self.variant.preset.having({self.key: value}))
        except InputError as error:
            raise SpaceError(self.path, node.line, str(error)) from None

    def _ends(self, fields: dict[str, Node]) -> tuple[float | int, float | int]:
        low, high = self._number(fields["low"]), self._number(fields["high"])
        if low >= high:
            raise self.fail(f"low must be less than high, but got low={low:g}, high={high:g}", fields["low"])
        return low, high

    def _log(self, fields: dict[str, Node], low: float) -> bool:
        if "log" not in fields:
            return False
        log = fields["log"].value
        if not isinstance(log, bool):
            raise self.fail(f"log must be true or false, but got {log!r}", fields["log"])
        if log and "step" in fields:
            raise self.fail("log and step exclude each other", fields["step"])
        if log and low <= 0:
            raise self.fail(f"a log range must begin above 0, but got low={low:g}", fields["low"])
        return log

    def _step(self, fields: dict[str, Node], low: float, high: float) -> Any:
        step = self._finite(fields["step"])
        if not 0 < step <= high - low:
            raise self.fail(
                f"step must be above 0 and at most high - low = {high - low:g}, but got {step!r}", fields["step"]
            )
        if not _on_grid(high - low, step):
            raise self.fail(
                f"high must be low plus a whole number of steps of {step:g}, but got {high:g}", fields["high"]
            )
        return step

    def _float_range(self, fields: dict[str, Node]) -> FloatRange:
        if self.kind is not float:
            rule = "whole numbers; use type: int or choice" if self.kind is int else USE_CHOICE[self.kind]
            raise self.fail(f"takes {rule}", fields["type"])
        self._only(fields, {"low", "high"}, {"log", "step"})
        low, high = (float(end) for end in self._ends(fields))
        step = float(self._step(fields, low, high)) if "step" in fields else None
        return FloatRange(low=low, high=high, log=self._log(fields, low), step=step)

    def _int_range(self, fields: dict[str, Node]) -> IntRange:
        if self.kind is not int:
            rule = "real numbers; use type: float or choice" if self.kind is float else USE_CHOICE[self.kind]
            raise self.fail(f"takes {rule}", fields["type"])
        self._only(fields, {"low", "high"}, {"log", "step"})
        low, high = self._ends(fields)
        assert isinstance(low, int)
        assert isinstance(high, int)
        step = self._step(fields, low, high) if "step" in fields else 1
        for value in range(low + step, high, step) if self.key in dict(self.variant.preset.structure) else ():
            self._admitted(value, fields["type"])  # an option may admit odd numbers alone
        return IntRange(low=low, high=high, log=self._log(fields, low), step=step)

    def _choice(self, fields: dict[str, Node]) -> Choice:
        self._only(fields, {"values"}, set())
        node = fields["values"]
        if not isinstance(node.value, list) or not node.value:
            raise self.fail(f"values must be a list of at least one value, but got {node.kind}", node)
        read: dict[type, Callable[[Node], Value]] = {
            str: self._name,
            bool: self._switch,
            int: self._number,
            float: lambda child: float(self._number(child)),
        }
        values = tuple(read[self.kind](child) for child in node.value)
        if len(set(values)) < len(values):
            raise self.fail("values must differ from one another", node)
        return Choice(values=values)


def _on_grid(distance: float, step: float) -> bool:
    steps = distance / step
    return math.isfinite(steps) and math.isclose(round(steps) * step, distance, rel_tol=1e-9, abs_tol=1e-12)

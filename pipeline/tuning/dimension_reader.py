"""Reads one dimension of a search space file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

from pipeline.base.errors import InputError, SpaceError, near_misses
from pipeline.base.stored import SIGNIFICANT_DIGITS
from pipeline.models.hyperparameters import NONE, Value
from pipeline.models.variant import Variant
from pipeline.tuning.dimensions import Choice, Dimension, FloatRange, IntRange, on_grid
from pipeline.tuning.space import Condition
from pipeline.tuning.strict_yaml import Node

USE_CHOICE: dict[type, str] = {str: "names; use type: choice", bool: "true or false; use type: choice"}
ROUNDING, OPTIONAL = "significant_digits", "optional"
COMMON_KEYS = {"default", "when", OPTIONAL}
MAX_SIGNIFICANT, MAX_STEPS, MAX_VALUES = 15, 10_000, 100


class DimensionReader:
    """Reads one dimension; every failure names the hyperparameter and the line."""

    def __init__(self, path: str, key: str, node: Node, variant: Variant) -> None:
        self.path, self.key, self.node, self.variant = path, key, node, variant
        self.kind = variant.hyperparameters[key]
        self._known: set[Value] = set()
        """Values that it may have: some take a network to find out."""

    def fail(self, message: str, node: Node | None = None) -> SpaceError:
        """What is wrong with it, or with a part of it."""
        return SpaceError(self.path, (node or self.node).line, f"{self.key}: {message}")

    def dimension(self) -> Dimension:
        """The values that it may have. Raises SpaceError."""
        fields = self.node.value
        if not isinstance(fields, dict) or "type" not in fields:
            raise self.fail(f"must be a mapping with a type (float, int or choice), but got {self.node.kind}")
        readers: dict[str, Callable[[dict[str, Node]], Dimension]] = {
            "float": self._float_range,
            "int": self._int_range,
            "choice": self._choice,
        }
        if OPTIONAL in fields:
            self._switch(fields[OPTIONAL])
        kind = fields["type"].value
        if not isinstance(kind, str) or kind not in readers:
            raise self.fail(f"unknown type {kind!r}; {near_misses(str(kind), list(readers))}", fields["type"])
        return readers[kind](fields)

    def default(self, dimension: Dimension, *, complete: bool) -> Value | None:
        """What is tried first; None if the file leaves it to the preset, which a `complete` search need not try."""
        node = self.node.value.get("default")
        if node is None:
            return dimension.grid[0] if len(dimension.grid) == 1 and not complete else None
        value = self._value(node)
        if value not in dimension:
            raise self.fail(f"the default must be one of its values, but got {value}", node)
        return value

    def condition(self, above: Mapping[str, Dimension]) -> Condition | None:
        """Where the dimension is searched, given those that stand above it; None for everywhere."""
        node = self.node.value.get("when")
        if node is None:
            return None
        if not isinstance(node.value, dict) or len(node.value) != 1:
            raise self.fail(f"when must name one hyperparameter and its values, but got {node.kind}", node)
        [(name, given)] = node.value.items()
        if name not in above:
            raise self.fail(f"when must name one that is searched above; {near_misses(name, list(above))}", given)
        reader = DimensionReader(self.path, name, given, self.variant)
        values = reader._values(given)
        for value in values:
            if value not in above[name]:
                raise self.fail(f"when must name values of {name}, but it is never {value}", given)
        return Condition(name, values)

    def _values(self, node: Node) -> tuple[Value, ...]:
        """Values of this hyperparameter: those of a list, or one that stands alone."""
        nodes = node.value if isinstance(node.value, list) else [node]
        if len(nodes) > MAX_VALUES:
            raise self.fail(f"a list may have {MAX_VALUES} values at most, but got {len(nodes)}; give a range", node)
        return tuple(self._value(child) for child in nodes)

    def _value(self, node: Node) -> Value:
        """One value of this hyperparameter."""
        if node.value in (None, NONE) and self._is_optional:
            return NONE
        read: dict[type, Callable[[Node], Value]] = {
            str: self._name,
            bool: self._switch,
            int: self._number,
            Number: self._number,
            float: lambda child: float(self._number(child)),
        }
        return read[self.kind](node)

    @property
    def _is_optional(self) -> bool:
        return any(option.name == self.key and option.optional for option in self.variant.options)

    def _only(self, fields: dict[str, Node], required: set[str], optional: set[str]) -> None:
        for name, node in fields.items():
            if name not in required | optional | COMMON_KEYS | {"type"}:
                known = sorted(required | optional | COMMON_KEYS)
                raise self.fail(f"unknown key {name!r}; {near_misses(name, known)}", node)
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
        if value in self._known:
            return
        try:
            self.variant.check(self.variant.preset.replaced({self.key: value}))
        except InputError as error:
            raise SpaceError(self.path, node.line, str(error)) from None
        self._known.add(value)

    def _ends(self, fields: dict[str, Node]) -> tuple[float | int, float | int]:
        low, high = self._number(fields["low"]), self._number(fields["high"])
        if low > high:
            raise self.fail(f"low must be at most high, but got low={low:g}, high={high:g}", fields["low"])
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
        if not step > 0:
            raise self.fail(f"step must be above 0, but got {step!r}", fields["step"])
        if low < high and step > high - low:
            raise self.fail(f"step must be at most high - low = {high - low:g}, but got {step!r}", fields["step"])
        if (high - low) / step > MAX_STEPS:
            raise self.fail(
                f"a range may have {MAX_STEPS} steps at most, but got {(high - low) / step:.4g}", fields["step"]
            )
        if not on_grid(high - low, step):
            raise self.fail(
                f"high must be low plus a whole number of steps of {step:g}, but got {high:g}", fields["high"]
            )
        return step

    def _float_range(self, fields: dict[str, Node]) -> FloatRange:
        if self.kind not in (float, Number):
            rule = "whole numbers; use type: int or choice" if self.kind is int else USE_CHOICE[self.kind]
            raise self.fail(f"takes {rule}", fields["type"])
        self._only(fields, {"low", "high"}, {"log", "step", ROUNDING, SIGNIFICANT_DIGITS})
        low, high = (float(end) for end in self._ends(fields))
        step = float(self._step(fields, low, high)) if "step" in fields else None
        rounding = self._significant_digits(fields)
        return FloatRange(low=low, high=high, log=self._log(fields, low), step=step, significant_digits=rounding)

    def _significant_digits(self, fields: dict[str, Node]) -> int | None:
        key = ROUNDING if ROUNDING in fields else SIGNIFICANT_DIGITS  # what earlier versions called it
        if key not in fields:
            return None
        given: object = fields[key].value
        if type(given) is not int or not 1 <= given <= MAX_SIGNIFICANT:
            raise self.fail(f"{key} must be a whole number from 1 to {MAX_SIGNIFICANT}, but got {given!r}", fields[key])
        if "step" in fields:
            raise self.fail(f"{key} and step exclude each other", fields[key])
        return given

    def _int_range(self, fields: dict[str, Node]) -> IntRange:
        if self.kind not in (int, Number):
            rule = "real numbers; use type: float or choice" if self.kind is float else USE_CHOICE[self.kind]
            raise self.fail(f"takes {rule}", fields["type"])
        self._only(fields, {"low", "high"}, {"log", "step"})
        low, high = self._ends(fields)
        assert isinstance(low, int)
        assert isinstance(high, int)
        step = self._step(fields, low, high) if "step" in fields else 1
        if low < high:
            self._admitted(low + step, fields["type"])  # an option may admit odd numbers alone
        return IntRange(low=low, high=high, log=self._log(fields, low), step=step)

    def _choice(self, fields: dict[str, Node]) -> Choice:
        self._only(fields, {"values"}, set())
        node = fields["values"]
        if not isinstance(node.value, list) or not node.value:
            raise self.fail(f"values must be a list of at least one value, but got {node.kind}", node)
        values = self._values(node)
        if len(set(values)) < len(values):
            raise self.fail("values must differ from one another", node)
        return Choice(values=values)

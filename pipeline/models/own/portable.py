"""Callables of a person's own, made so that worker processes can call them."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from pipeline.base.errors import InputError
from pipeline.base.imports import FILE_PREFIX
from pipeline.models.hyperparameters import NONE, Value


@dataclass(frozen=True)
class Portable:
    """A callable as bytes, which worker processes can read whatever module it is from."""

    payload: bytes = field(repr=False)

    @classmethod
    def of(cls, target: Callable[..., Any]) -> Portable:
        """Raises InputError for what cannot be sent, such as an open file in a variable that it uses."""
        for name, module in list(sys.modules.items()):
            if name.startswith(FILE_PREFIX):  # which no other process can import
                cloudpickle.register_pickle_by_value(module)
        try:
            portable = cls(cloudpickle.dumps(target))
        except Exception as error:  # whatever an object's own __reduce__ raises
            raise InputError(
                f"a model is sent to worker processes, but {target!r} cannot be: {error}; let it make what it needs "
                f"itself"
            ) from error
        _known[portable.payload] = target
        return portable

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it."""
        if self.payload not in _known:
            _known[self.payload] = cloudpickle.loads(self.payload)
        return _known[self.payload](*args, **options)


_known: dict[bytes, Callable[..., Any]] = {}
"""What is at hand is not read back: cloudpickle would put what it has sent of a class into the class itself, which
then no longer sees the other names of its file."""


@dataclass(frozen=True, kw_only=True)
class Constructor:
    """Calls a class or function with what is given, and with the options of a configuration."""

    target: Callable[..., Any]
    given: Mapping[str, Any]
    """Argument -> what the data or the factors say."""
    arguments: Mapping[str, str]
    """Option -> argument, where that is called otherwise."""
    enums: Mapping[str, type[enum.Enum]]
    """Option -> the enumeration of which it names a member."""
    optional: frozenset[str] = frozenset()
    """Options of which `none` stands for None."""

    def __call__(self, **options: Value) -> Any:
        """The network, or the estimator."""
        values = {self.arguments.get(name, name): self._value(name, value) for name, value in options.items()}
        return self.target(**{**self.given, **values})

    def _value(self, name: str, value: Value) -> Any:
        if value == NONE and name in self.optional:
            return None
        return self.enums[name][str(value)] if name in self.enums else value


@dataclass(frozen=True, kw_only=True)
class FromInstance:
    """Makes estimators like the one that a person has made, such as a pipeline."""

    instance: Any

    def __call__(self, **parameters: Any) -> Any:
        """A new one with these parameters."""
        return deepcopy(self.instance).set_params(**parameters)

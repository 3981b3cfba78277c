"""How one training is run: the hyperparameters that all variants have, and the options of a family's structure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Number
from typing import Any

from pipeline.base.errors import InputError, UnknownNameError

MAX_EPOCHS = 10_000
MAX_BATCH_SIZE = 100_000
LARGEST = 2.0**53
"""The greatest whole number that JSON keeps."""

OPTIMISERS = ("adam", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine", "cosine_restarts")

Value = float | int | str | bool
"""Of a hyperparameter."""
Structure = tuple[tuple[str, Value], ...]
"""The options of a variant's structure by name, each with its value."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """How one training is run; every field can be searched, and so can every option of the structure."""

    lr: float
    """Learning rate; with a schedule, the highest."""
    batch_size: int
    """Samples a step."""
    epochs: int
    """Passes over the training samples."""
    alpha: float = 0.0
    """Weight of an auxiliary loss: total = main + alpha * auxiliary. 0 where there is none."""
    optimiser: str = "adam"
    """`adam`, `sgd` or `rmsprop`, as torch has them."""
    momentum: float = 0.0
    """Of SGD."""
    weight_decay: float = 0.0
    """L2: this times the weights is added to the gradient."""
    schedule: str = "constant"
    """`constant`, `cosine` (over all epochs) or `cosine_restarts` (every `restart_epochs`), epoch by epoch."""
    lr_min: float = 0.0
    """Where a cosine schedule ends."""
    restart_epochs: int = 5
    """Epochs of one cosine with restarts."""
    augmentation: str = "none"
    """Of each sample in each epoch: `none`, or one of the variant's `Transforms`."""
    inputs: str = "standardised"
    """How inputs are scaled: one of the variant's `Transforms`, such as `standardised` by mean and standard deviation
    of the training samples."""
    structure: Structure = ()
    """The options of the variant, all of them."""

    def __post_init__(self) -> None:
        # 1 and 1.0 are the same configuration, and must have the same hash.
        for name in ("lr", "alpha", "momentum", "weight_decay", "lr_min"):
            object.__setattr__(self, name, float(getattr(self, name)))
        _check_number("lr", self.lr, low=0.0, open_low=True, high=100.0)
        _check_number("alpha", self.alpha, low=0.0, high=1e6)
        _check_number("momentum", self.momentum, low=0.0, high=1.0)
        _check_number("weight_decay", self.weight_decay, low=0.0, high=1e3)
        _check_number("lr_min", self.lr_min, low=0.0, high=100.0 if self.schedule == "constant" else self.lr)
        check_integer("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)
        check_integer("epochs", self.epochs, 1, MAX_EPOCHS)
        check_integer("restart_epochs", self.restart_epochs, 1, MAX_EPOCHS)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, str(getattr(self, name)), known)

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Hyperparameters:
        """From what `as_dict` gave; what is not a field is an option of the structure."""
        common: dict[str, Any] = {name: value for name, value in values.items() if name in HYPERPARAMETERS}
        return cls(**common, structure=tuple((name, value) for name, value in values.items() if name not in common))

    def replaced(self, values: Mapping[str, Value]) -> Hyperparameters:
        """The same but for these values.

        Raises InputError for one that breaks a rule, and UnknownNameError for an option that the structure lacks.
        """
        options = dict(self.structure)
        changed: dict[str, Any] = {}
        for name, value in values.items():
            if name in HYPERPARAMETERS:
                changed[name] = value
            elif name in options:
                options[name] = float(value) if isinstance(options[name], float) else value
            else:
                raise UnknownNameError("hyperparameter", name, (*HYPERPARAMETERS, *options))
        return replace(self, **changed, structure=tuple(options.items()))

    def as_dict(self) -> dict[str, Value]:
        """Name to value, the options of the structure last."""
        return {**{name: getattr(self, name) for name in HYPERPARAMETERS}, **dict(self.structure)}

    @property
    def canonical(self) -> Hyperparameters:
        """Equal for configurations that are the same training: what has no effect is as its default."""
        idle: dict[str, Any] = {name: DEFAULTS[name] for name in self._idle if getattr(self, name) != DEFAULTS[name]}
        return replace(self, **idle) if idle else self

    @property
    def hash(self) -> str:
        """Twelve hexadecimal characters that identify this configuration by what has an effect."""
        return hashlib.sha256(json.dumps(self.canonical.as_dict(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> Hyperparameters:
        """Equal for trainings that differ in length alone, so that the longer one goes through the shorter.

        A cosine over all epochs is a path of its own, since its learning rates depend on the length.
        """
        return self.canonical if self.schedule == "cosine" else replace(self.canonical, epochs=1)

    @property
    def effective(self) -> dict[str, Value]:
        """The values that have an effect, given the others."""
        return {name: value for name, value in self.as_dict().items() if name not in self._idle}

    @property
    def _idle(self) -> set[str]:
        idle = set()
        if self.optimiser != "sgd":
            idle.add("momentum")
        if self.schedule == "constant":
            idle.add("lr_min")
        if self.schedule != "cosine_restarts":
            idle.add("restart_epochs")
        return idle


CHOICES = {"optimiser": OPTIMISERS, "schedule": SCHEDULES}
"""The hyperparameters that are names, with the names that they may be; the others depend on the variant."""
_COMMON = [field for field in fields(Hyperparameters) if field.name != "structure"]
DEFAULTS: dict[str, Value] = {field.name: field.default for field in _COMMON if isinstance(field.default, Value)}
"""What a hyperparameter is where nothing is said of it."""
HYPERPARAMETERS: dict[str, type] = {
    field.name: {"float": float, "int": int, "str": str}[str(field.type)] for field in _COMMON
}
"""The hyperparameters that all variants have, with their types."""


NONE = "none"
"""How it is said that an optional value is left out."""
SWITCH = {"on": True, "true": True, "off": False, "false": False}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One choice in a variant's structure, which can be searched like a hyperparameter."""

    name: str
    meaning: str
    kind: type
    """`bool`, `int`, `float`, `str`, or `Number` for either kind of number as it is given."""
    default: Value | None = None
    """What it is in ordinary networks; None where there is no such thing."""
    low: float = 0
    high: float = math.inf
    """Bounds of a number, both included."""
    odd: bool = False
    """Whether the number must be odd, as kernels that are centred on a pixel."""
    choices: tuple[str, ...] = ()
    """The names that it may be; empty for any."""
    optional: bool = False
    """Whether it may also be `none`."""
    enables: frozenset[str] = frozenset()
    """Hyperparameters that have no effect while a `bool` is off."""

    def check(self, value: Value) -> None:
        """Raise InputError unless the option may have this value."""
        if self.optional and value == NONE:
            return
        if self.kind is bool:
            if not isinstance(value, bool):
                raise InputError(f"{self.name} must be on or off, but got {self.name}={value}")
        elif self.kind is str:
            if not isinstance(value, str):
                raise InputError(f"{self.name} must be a name, but got {self.name}={value}")
            if self.choices and value not in self.choices:
                raise UnknownNameError(self.name, value, self.choices)
        elif self.kind is int:
            check_integer(self.name, value, *(int(min(max(end, -LARGEST), LARGEST)) for end in (self.low, self.high)))
            if self.odd and not int(value) % 2:
                raise InputError(f"{self.name} must be odd, but got {self.name}={value}")
        else:
            if isinstance(value, bool | str):
                raise InputError(f"{self.name} must be a number, but got {self.name}={value}")
            _check_number(self.name, float(value), low=self.low, high=self.high)

    @property
    def admitted(self) -> str:
        """What it may be, in words."""
        if self.kind is bool:
            text = "on, off"
        elif self.kind is str:
            text = ", ".join(self.choices) or "any name"
        elif math.isinf(self.low):
            text = "any whole number" if self.kind is int else "any number"
        else:
            text = f"{self.low:g} to {self.high:g}" + (", odd" if self.odd else "")
        return f"{text}, {NONE}" if self.optional else text


def read_value(name: str, text: str, kind: type) -> Value:
    """A value of this kind as it is typed. Raises InputError."""
    if kind is bool:
        if text.lower() not in SWITCH:
            raise InputError(f"{name} must be on or off, but got {text!r}")
        return SWITCH[text.lower()]
    rule = "a whole number" if kind is int else "a number"
    for number in (int, float) if kind is Number else (kind,):
        try:
            value: Value = number(text)
        except ValueError:
            continue
        return value
    raise InputError(f"{name} must be {rule}, but got {text!r}")


BATCH_NORM = Option(name="batch_norm", kind=bool, default=False, meaning="batch normalisation after every hidden layer")
DROPOUT = Option(
    name="dropout",
    kind=float,
    default=0.0,
    high=0.95,
    meaning="probability of dropping each output of a fully connected hidden layer",
)


def _check_number(name: str, value: float, *, low: float, high: float, open_low: bool = False) -> None:
    if not (math.isfinite(value) and (low < value if open_low else low <= value) and value <= high):
        bound = f"greater than {low:g}" if open_low else f"at least {low:g}"
        raise InputError(f"{name} must be {bound} and at most {high:g}, but got {name}={value}")


def check_integer(name: str, value: Value, low: int, high: int) -> None:
    """Raise InputError unless the value is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be a whole number between {low} and {high}, but got {name}={value}")

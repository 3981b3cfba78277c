"""What a variant is: a row with its source, its factors, its preset and a way to build its network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from pipeline.errors import InputError, UnknownNameError

MAX_EPOCHS = 10_000
MAX_BATCH_SIZE = 100_000


OPTIMISERS = ("adam", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine", "cosine_restarts")
AUGMENTATIONS = ("none", "crop_flip")


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """How one training is run; every field can be searched."""

    lr: float
    """Learning rate; with a schedule, the highest."""
    batch_size: int
    """Pairs a step."""
    epochs: int
    """Passes over the training pairs."""
    alpha: float = 0.0
    """Weight of the auxiliary loss: total = main + alpha * (CE digit 1 + CE digit 2). 0 where there is none."""
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
    """`none`, or `crop_flip`: each image is cut out anew from a frame of 4 black pixels, half are mirrored."""

    def __post_init__(self) -> None:
        # 1 and 1.0 are the same configuration, and must have the same hash.
        for name in ("lr", "alpha", "momentum", "weight_decay", "lr_min"):
            object.__setattr__(self, name, float(getattr(self, name)))
        _check_number("lr", self.lr, low=0.0, open_low=True, high=100.0)
        _check_number("alpha", self.alpha, low=0.0, high=1e6)
        _check_number("momentum", self.momentum, low=0.0, high=1.0)
        _check_number("weight_decay", self.weight_decay, low=0.0, high=1e3)
        _check_number("lr_min", self.lr_min, low=0.0, high=100.0 if self.schedule == "constant" else self.lr)
        _check_integer("batch_size", self.batch_size, MAX_BATCH_SIZE)
        _check_integer("epochs", self.epochs, MAX_EPOCHS)
        _check_integer("restart_epochs", self.restart_epochs, MAX_EPOCHS)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, str(getattr(self, name)), known)

    def having(self, values: Mapping[str, Value]) -> Hyperparameters:
        """The same but for these values. Raises InputError for one that breaks a rule."""
        changed: dict[str, Any] = dict(values)
        return replace(self, **changed)

    def as_dict(self) -> dict[str, Value]:
        """Field name to value."""
        return asdict(self)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that identify this configuration."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> Hyperparameters:
        """Equal for trainings that differ in length alone, so that the longer one goes through the shorter.

        A cosine over all epochs is a path of its own, since its learning rates depend on the length.
        """
        return self if self.schedule == "cosine" else replace(self, epochs=1)

    @property
    def effective(self) -> dict[str, Value]:
        """The fields that have an effect, given the others."""
        idle = set()
        if self.optimiser != "sgd":
            idle.add("momentum")
        if self.schedule == "constant":
            idle.add("lr_min")
        if self.schedule != "cosine_restarts":
            idle.add("restart_epochs")
        return {name: value for name, value in self.as_dict().items() if name not in idle}


Value = float | int | str
"""Of a hyperparameter."""
CHOICES = {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "augmentation": AUGMENTATIONS}
"""The hyperparameters that are names, with the names that they may be."""
DEFAULTS: dict[str, Value] = {
    field.name: field.default for field in fields(Hyperparameters) if isinstance(field.default, Value)
}
"""What a hyperparameter is where nothing is said of it."""
HYPERPARAMETERS: dict[str, type] = {
    field.name: {"float": float, "int": int, "str": str}[str(field.type)] for field in fields(Hyperparameters)
}
"""The names that a search space or a grid may use, with their types."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model variant."""

    name: str
    arch: str
    """The family: what is left of the name without `_ws` and `_al`."""
    weight_sharing: bool
    """One trunk for both digits instead of one each."""
    auxiliary_loss: bool
    """Trained to recognise the two digits as well."""
    source: str
    """The report, and what it does not give."""
    preset: Hyperparameters
    """The configuration that the report chose."""
    build: Callable[[], nn.Module]
    """Makes the network for one replica, with arbitrary weights."""

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.build().parameters())

    @property
    def factors(self) -> dict[str, Any]:
        """What variants are grouped by, each a value of its own."""
        return {"arch": self.arch, "ws": self.weight_sharing, "al": self.auxiliary_loss}

    def check(self, hyper: Hyperparameters) -> Hyperparameters:
        """Return `hyper` if it makes sense for this variant; raise InputError otherwise."""
        if hyper.alpha and not self.auxiliary_loss:
            raise InputError(f"alpha weighs an auxiliary loss, but {self.name} has none; got alpha={hyper.alpha}")
        return hyper

    def shown(self, hyper: Hyperparameters) -> dict[str, Value]:
        """The hyperparameters that have an effect here (no alpha without an auxiliary loss)."""
        return {key: value for key, value in hyper.effective.items() if key != "alpha" or self.auxiliary_loss}


def _check_number(name: str, value: float, *, low: float, high: float, open_low: bool = False) -> None:
    if not (math.isfinite(value) and (low < value if open_low else low <= value) and value <= high):
        bound = f"greater than {low:g}" if open_low else f"at least {low:g}"
        raise InputError(f"{name} must be {bound} and at most {high:g}, but got {name}={value}")


def _check_integer(name: str, value: int, high: int) -> None:
    if not (isinstance(value, int) and 1 <= value <= high):
        raise InputError(f"{name} must be a whole number between 1 and {high}, but got {name}={value}")

"""What a variant is: a row with its source, its factors, its preset and a way to build its network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from pipeline.errors import InputError

MAX_EPOCHS = 10_000
MAX_BATCH_SIZE = 100_000


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """How one training is run; every field can be searched."""

    lr: float
    """Learning rate of Adam."""
    batch_size: int
    """Pairs a step."""
    epochs: int
    """Passes over the training pairs."""
    alpha: float = 0.0
    """Weight of the auxiliary loss: total = main + alpha * (CE digit 1 + CE digit 2). 0 where there is none."""

    def __post_init__(self) -> None:
        # 1 and 1.0 are the same configuration, and must have the same hash.
        object.__setattr__(self, "lr", float(self.lr))
        object.__setattr__(self, "alpha", float(self.alpha))
        _check_number("lr", self.lr, low=0.0, open_low=True, high=100.0)
        _check_number("alpha", self.alpha, low=0.0, high=1e6)
        _check_integer("batch_size", self.batch_size, MAX_BATCH_SIZE)
        _check_integer("epochs", self.epochs, MAX_EPOCHS)

    def having(self, values: Mapping[str, float | int]) -> Hyperparameters:
        """The same but for these values. Raises InputError for one that breaks a rule."""
        changed: dict[str, Any] = dict(values)
        return replace(self, **changed)

    def as_dict(self) -> dict[str, float | int]:
        """Field name to value."""
        return asdict(self)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that identify this configuration."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]


HYPERPARAMETERS: dict[str, type] = {"lr": float, "batch_size": int, "epochs": int, "alpha": float}
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

    def shown(self, hyper: Hyperparameters) -> dict[str, float | int]:
        """The hyperparameters that mean something here (no alpha without an auxiliary loss)."""
        return {key: value for key, value in hyper.as_dict().items() if key != "alpha" or self.auxiliary_loss}


def _check_number(name: str, value: float, *, low: float, high: float, open_low: bool = False) -> None:
    if not (math.isfinite(value) and (low < value if open_low else low <= value) and value <= high):
        bound = f"greater than {low:g}" if open_low else f"at least {low:g}"
        raise InputError(f"{name} must be {bound} and at most {high:g}, but got {name}={value}")


def _check_integer(name: str, value: int, high: int) -> None:
    if not (isinstance(value, int) and 1 <= value <= high):
        raise InputError(f"{name} must be a whole number between 1 and {high}, but got {name}={value}")

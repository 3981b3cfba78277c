"""Networks that a person might bring, as variants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.objectives import CrossEntropy
from pipeline.models.variant import Variant


def foreign(make: Callable[..., nn.Module], *input_shape: int, **changes: Any) -> Variant:
    """A variant of classes that a person brought."""
    fields: dict[str, Any] = {
        "name": "brought",
        "family": "brought",
        "task": "classification",
        "title": "names the class of a sample",
        "objective": CrossEntropy(),
        "preset": Hyperparameters(lr=0.01, batch_size=5, epochs=2),
    }
    return Variant(**{**fields, **changes}, input_shape=input_shape, make=make, foreign=True)

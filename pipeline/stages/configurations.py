"""Configurations as people type them: `name=value,value` parts separated by spaces."""

from __future__ import annotations

import itertools
import math

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import NONE, Hyperparameters, Value, read_value
from pipeline.models.variant import Variant

MAX_CELLS = 1000


def parse_grid(text: str, variant: Variant) -> list[Hyperparameters]:
    """All configurations of a grid in the order of its text.

    `preset` is the variant's own; otherwise `name=value,value ...` for each hyperparameter that is varied.
    Raises InputError that names the part which is wrong.
    """
    if text.strip() == "preset":
        return [variant.preset]
    values = _parse(text, variant)
    if not values:
        raise InputError("a grid must be `preset` or name at least one hyperparameter, but it is empty")
    if (count := math.prod(len(listed) for listed in values.values())) > MAX_CELLS:
        raise InputError(f"a grid may have {MAX_CELLS} cells at most, but got {count}")
    cells = [
        variant.check(variant.preset.replaced(dict(zip(values, chosen, strict=True))))
        for chosen in itertools.product(*values.values())
    ]
    if len(set(cells)) < len(cells):
        raise InputError(f"the cells of a grid must differ from one another, but {text!r} names some twice")
    return cells


def parse_changes(text: str, hyper: Hyperparameters, variant: Variant) -> Hyperparameters:
    """The configuration with the values that `name=value ...` gives.

    Raises InputError that names the part which is wrong.
    """
    values = _parse(text, variant)
    for name, listed in values.items():
        if len(listed) > 1:
            raise InputError(f"one value is set for each hyperparameter, but {name} was given {len(listed)}")
    return variant.check(hyper.replaced({name: value for name, (value,) in values.items()}))


def _parse(text: str, variant: Variant) -> dict[str, list[Value]]:
    values: dict[str, list[Value]] = {}
    for part in text.split():
        name, equals, listed = part.partition("=")
        if not equals or not listed:
            raise InputError(f"values are given as name=value,value parts separated by spaces, but got {part!r}")
        kind = variant.kind_of(name)
        if name in values:
            raise InputError(f"each hyperparameter is named once, but {name} stands twice")
        values[name] = [
            NONE if _is_none(name, item, variant) else read_value(name, item, kind) for item in listed.split(",")
        ]
    return values


def _is_none(name: str, text: str, variant: Variant) -> bool:
    return text == NONE and any(option.name == name and option.optional for option in variant.options)

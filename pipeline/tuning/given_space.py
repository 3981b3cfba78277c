"""A search space that a program gives, instead of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Value
from pipeline.models.variant import Variant
from pipeline.tuning.dimensions import Choice, Dimension, FloatRange, IntRange
from pipeline.tuning.space import Space

Given = Mapping[str, Dimension | Sequence[Value]]
"""Hyperparameter -> range, or a list of values."""


def given_space(variant: Variant, given: Given) -> Space:
    """The space over these hyperparameters; what is not named keeps the value of the variant's preset.

    A search tries first what the preset has, or of a range without that the middle, and of a list the first value.
    Raises UnknownNameError for a hyperparameter that the variant lacks, with the near misses, and InputError for a
    value that it may not have.
    """
    if not given:
        raise InputError("a search space must name at least one hyperparameter, but it is empty")
    dimensions = {name: _dimension(variant, name, each) for name, each in given.items()}
    values = variant.preset.as_dict()
    first = {
        name: values[name] if values[name] in dimension else _first(dimension) for name, dimension in dimensions.items()
    }
    space = Space(dimensions=dimensions, preset=variant.preset.replaced(first))
    variant.check(space.preset)
    return space


def _dimension(variant: Variant, name: str, given: Dimension | Sequence[Value]) -> Dimension:
    kind = variant.kind_of(name)
    if isinstance(given, FloatRange | IntRange | Choice):
        dimension: Dimension = given
    elif isinstance(given, list | tuple) and given:
        dimension = Choice(values=tuple(given))
    else:
        raise InputError(f"{name} must be a list of values, or a range such as Float(0.1, 1.0), but got {given!r}")
    if isinstance(dimension, FloatRange) and kind in (int, bool, str):
        raise InputError(f"{name} takes no real numbers, but got {given!r}; give Int(low, high) or a list")
    for value in dimension.ends:
        variant.check(variant.preset.replaced({name: value}))
    return dimension


def _first(dimension: Dimension) -> Value:
    if isinstance(dimension, Choice):
        return dimension.values[0]
    low, high = dimension.ends
    middle = math.sqrt(low * high) if dimension.log else (low + high) / 2
    if dimension.grid:
        return min(dimension.grid, key=lambda value: abs(float(value) - middle))
    return dimension.rounded(middle)

"""What variants of one model differ in, declared on its class or function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.base.errors import InputError
from pipeline.models.variant import Level

DECLARED = "__variantlab__"
"""The attribute of a class or function that holds its `Declared`."""
MAX_VARIANTS = 64
Target = TypeVar("Target", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What `factors` says of a class or function."""

    family: str
    levels: Mapping[str, Sequence[Level]]
    """Argument -> what it is in the variants."""
    marks: Mapping[str, Level]
    """Factor -> the level of this one."""


def factors(*, family: str = "", **levels: Level | Sequence[Level]) -> Callable[[Target], Target]:
    """Declare what variants differ in, so that `compare` tests the effect of each factor and their interactions.

    A list gives the levels of a constructor argument, and there is one variant for each combination:

    >>> @factors(pooling=["max", "mean"], ws=[False, True])
    ... class Net(nn.Module):
    ...     def __init__(self, in_features: int, num_classes: int, pooling: str = "max", ws: bool = False) -> None: ...
    >>> [definition.name for definition in definitions_of(Net)]
    ['Net_max', 'Net_max_ws', 'Net_mean', 'Net_mean_ws']

    A single value says what a class is among those of its `family`: `@factors(family="size", depth=1)`.

    Args:
        family: name under which variants are compared; that of the class if empty.
        levels: factor -> levels (bool, int or str), or the one level.
    """
    listed = {name: list(each) for name, each in levels.items() if isinstance(each, list | tuple)}
    marks = {name: each for name, each in levels.items() if isinstance(each, bool | int | str)}
    for name, each in levels.items():
        given = listed.get(name, [each])
        if not all(isinstance(level, bool | int | str) for level in given) or len(set(map(str, given))) < len(given):
            raise InputError(
                f"the levels of a factor are different names, whole numbers or bools, but {name} has {each}"
            )
        if name in listed and len(given) < 2:
            raise InputError(f"a factor needs two levels at least, but {name} has {given}; give the level itself")
    if math.prod(map(len, listed.values())) > MAX_VARIANTS:
        raise InputError(f"factors may give {MAX_VARIANTS} variants at most, but {listed} give more")

    def declare(target: Target) -> Target:
        setattr(target, DECLARED, Declared(family=family or target.__name__, levels=listed, marks=marks))
        return target

    return declare

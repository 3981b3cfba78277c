"""Constructor arguments as options that can be searched."""

from __future__ import annotations

import enum
import math
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any, Literal

from pipeline.models.hyperparameters import HYPERPARAMETERS, NONE, Option

PREFIX = "model__"
"""Before an argument that is called like a hyperparameter of every training, such as `model__alpha`."""
KINDS = (bool, int, float, str, Number)
"""What an option may be."""
HOW_ALONE = ("n_jobs", "random_state", "verbose", "warm_start")
"""Arguments of estimators that change how they are fitted, and not what is: they are no options."""
Arguments = Mapping[str, tuple[Option, type[enum.Enum] | None]]
"""Argument -> the option that it is, and the enumeration whose members it names, if it does."""


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Argument -> its annotation; none where they cannot be evaluated, such as names that only type checkers import."""
    try:
        return typing.get_type_hints(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    except Exception:  # noqa: BLE001 # whatever an annotation raises
        return {}


def options_of(defaults: Mapping[str, Any], hints: Mapping[str, Any], model: str) -> Arguments:
    """Those with a simple default; the others stay as they are."""
    found = {}
    for argument, default in defaults.items():
        option = _option(argument, default, hints.get(argument), model)
        if option is not None:
            found[argument] = option, type(default) if isinstance(default, enum.Enum) else None
    return found


def _option(argument: str, default: Any, hint: Any, model: str) -> Option | None:
    name = f"{PREFIX}{argument}" if argument in (*HYPERPARAMETERS, "structure") else argument
    annotated, optional = _without_none(hint)
    is_given = default != NONE if isinstance(default, str) else True
    optional = optional or default is None
    choices: tuple[str, ...] = ()
    shown: Any = NONE if default is None else default
    kind = annotated if default is None else type(default)
    if isinstance(default, enum.Enum):
        kind, choices, shown = str, tuple(type(default).__members__), default.name
    elif typing.get_origin(annotated) is Literal:
        choices = tuple(map(str, typing.get_args(annotated)))
        if not all(isinstance(choice, str) for choice in typing.get_args(annotated)):
            return None
        kind = str
    elif default is None and kind not in KINDS:
        kind = Number
    elif kind is int and annotated is float:
        kind, shown = float, float(default)
    if kind not in KINDS or (isinstance(shown, float) and not math.isfinite(shown)):
        return None
    return Option(
        name=name,
        meaning=f"constructor argument of {model}",
        kind=kind,
        default=shown,
        choices=choices,
        optional=optional and is_given and NONE not in choices,  # else `none` is a name like any other
        low=-math.inf,
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    """An annotation without its `| None`, and whether it had one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [each for each in typing.get_args(hint) if each is not type(None)]
        return (others[0] if len(others) == 1 else None), len(others) < len(typing.get_args(hint))
    return hint, False

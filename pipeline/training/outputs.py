"""What networks give: a tensor, or a tuple of tensors, named or not, of which some may be None.

Raises TypeError for anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def over_parts(function: Callable[..., Tensor], *outputs: Any) -> Any:
    """What a function makes of the corresponding tensors of outputs, in their form."""
    first = outputs[0]
    if first is None or isinstance(first, Tensor):
        return None if first is None else function(*outputs)
    parts = [over_parts(function, *each) for each in zip(*map(_tuple, outputs), strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def parts_of(output: Any) -> list[Tensor]:
    """The tensors of an output, in order."""
    if output is None or isinstance(output, Tensor):
        return [] if output is None else [output]
    return [part for each in _tuple(output) for part in parts_of(each)]


def _tuple(output: Any) -> tuple[Any, ...]:
    if not isinstance(output, tuple | list):
        raise TypeError(f"a network must give a tensor or a tuple of tensors, but gave a {type(output).__name__}")
    return tuple(output)

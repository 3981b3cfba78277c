"""What went wrong in a person's own network, in a few words."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

MOST = 200
"""Characters of a message that are shown."""


@contextmanager
def noted() -> Iterator[list[Exception]]:
    """Inside, an error ends what is tried and is noted, of whatever kind: the program is a person's own."""
    errors: list[Exception] = []
    try:
        yield errors
    except Exception as error:  # noqa: BLE001
        errors.append(error)


def failed_in(error: Exception) -> nn.Module | None:
    """The innermost module that an error was raised in."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_locals["self"] for frame in frames if isinstance(frame.f_locals.get("self"), nn.Module)]
    return modules[-1] if modules else None


def in_words(error: Exception) -> str:
    """The first sentence of an error, and the kind of module that it was raised in."""
    module = failed_in(error)
    where = "" if module is None else f"{type(module).__name__.removeprefix('Batched')}: "
    return where + sentence(str(error) or type(error).__name__)


def sentence(text: str) -> str:
    """The first sentence, in one line."""
    return " ".join(text.split()).partition(". ")[0].partition("; ")[0].rstrip(".")[:MOST]

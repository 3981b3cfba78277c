"""Runs a function in several real processes that begin together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")
PATIENCE = 120

_together: list[Barrier] = []


def at_once(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
    """Call `function`, defined in a module, with each argument in a process of its own; the results in order."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments))
    pool = context.Pool(len(arguments), _together.append, (barrier,))
    try:
        return pool.map_async(_Call(function), arguments, chunksize=1).get(PATIENCE)
    finally:
        pool.terminate()
        pool.join()


class _Call:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, argument: Any) -> Any:
        _together[0].wait(PATIENCE)  # by now the modules are imported, and every process holds one argument
        return self.function(argument)

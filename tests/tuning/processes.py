"""Runs a function in several real processes that begin together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")
PATIENCE = 120

_together: list[Barrier] = []


def at_once(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
    """Call `function`, defined in a module, with each argument in a process of its own; the results in order.

    The processes are forks of one that has imported such modules and done nothing else: many would take long to import
    them each.
    """
    return _fresh().submit(_fork, function, arguments).result()


@cache
def _fresh() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _fork(function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> list[Result]:
    context = multiprocessing.get_context("fork")
    _together[:] = [context.Barrier(len(arguments))]
    with context.Pool(len(arguments)) as pool:
        tasks = [(function, argument) for argument in arguments]
        return pool.map_async(_call, tasks, chunksize=1).get(PATIENCE)


def _call(task: tuple[Callable[[Any], Any], Any]) -> Any:
    function, argument = task
    _together[0].wait(PATIENCE)  # every process holds one task before any begins
    return function(argument)

"""Finds tasks and their variants by name.

Each module of `pipeline.tasks` that defines `TASK` is a task, and so is each folder whose module `task` does. What the
command line needs to know of them stands in a folder's module `options`, which imports nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from pipeline import tasks as rooms
from pipeline.base.errors import UnknownNameError
from pipeline.data.sources.options import DATA_OPTIONS

if TYPE_CHECKING:
    from pipeline.data.config import DataOption
    from pipeline.models.variant import Variant
    from pipeline.tasks.api import Task

NO_ROOMS = ("adoption", "api", "registry", "subjects")


def _rooms() -> dict[str, str]:
    """Name -> the module that defines its `TASK`."""
    found = sorted(pkgutil.iter_modules(rooms.__path__), key=lambda module: module.name)
    return {
        module.name: f"{rooms.__name__}.{module.name}{'.task' if module.ispkg else ''}"
        for module in found
        if module.name not in NO_ROOMS
    }


@cache
def tasks() -> dict[str, Task]:
    """All tasks by name.

    Raises ValueError when two variants, or two data sets, share a name.
    """
    found: dict[str, Task] = {module: importlib.import_module(path).TASK for module, path in _rooms().items()}
    for kind in ("variants", "datasets"):
        names = [getattr(each, "name", each) for task in found.values() for each in getattr(task, kind)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"names of {kind} must be unique, but {sorted(twice)[0]!r} is defined twice")
    return {task.name: task for task in found.values()}


@cache
def variants() -> dict[str, Variant]:
    """All variants by name, task by task and each in its own order."""
    return {variant.name: variant for task in tasks().values() for variant in task.variants}


def get_variant(name: str) -> Variant:
    """The variant of the registry of this name. Raises UnknownNameError with the near misses."""
    known = variants()
    if name not in known:
        raise UnknownNameError("model", name, known)
    return known[name]


def task_of(variant: Variant) -> Task:
    """The task that a variant belongs to."""
    return next(task for task in tasks().values() if variant in task.variants)


@cache
def _options(name: str) -> dict[str, object]:
    """What the modules `options` of all tasks say of one thing; nothing heavy is imported for it."""
    found: dict[str, object] = {}
    for room, path in _rooms().items():
        if path.endswith(".task") and importlib.util.find_spec(f"{rooms.__name__}.{room}.options"):
            found |= getattr(importlib.import_module(f"{rooms.__name__}.{room}.options"), name, {})
    return found


def data_options() -> Mapping[str, DataOption]:
    """The options of all data sets by name."""
    return {**DATA_OPTIONS, **_options("DATA_OPTIONS")}  # type: ignore[dict-item]


def factor_names() -> list[str]:
    """The factors that tasks name by a title, for lists of runs."""
    return list(_options("FACTOR_TITLES"))

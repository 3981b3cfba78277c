"""Finds tasks, variants and data sets by name.

Each module of `pipeline.tasks` that defines `TASK` is a task, and so is each folder whose module `task` does. What the
command line needs to know of them stands in a folder's module `options`, which imports nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from pipeline import tasks as rooms
from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.dataset import Splits

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig, DataOption
    from pipeline.data.source import Source
    from pipeline.models.variant import Variant
from pipeline.tasks.api import Task

NO_ROOMS = ("api", "registry")


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
    """The variant of this name. Raises UnknownNameError with the near misses."""
    known = variants()
    if name not in known:
        raise UnknownNameError("model", name, known)
    return known[name]


def task_of(variant: Variant) -> Task:
    """The task that a variant belongs to."""
    return next(task for task in tasks().values() if variant in task.variants)


def dataset_named(name: str) -> tuple[Task, Source]:
    """A data set and the task that it is of. Raises UnknownNameError with the near misses."""
    for task in tasks().values():
        if name in task.datasets:
            return task, task.datasets[name]
    raise UnknownNameError("dataset", name, [name for task in tasks().values() for name in task.datasets])


def example_of(dataset: str) -> str:
    """A variant that learns from this data set, for examples of commands."""
    task, _ = dataset_named(dataset)
    return task.example or task.variants[0].name


def check_dataset(variant: Variant, name: str) -> None:
    """Raise InputError unless the variant can learn from this data set."""
    task, _ = dataset_named(name)
    if variant not in task.variants:
        own = " or ".join(task_of(variant).datasets)
        raise InputError(f"{variant.name} learns from {own}, so use --dataset {own}, but got --dataset {name}")


_kept: dict[DataConfig, Splits] | None = None


def load_splits(config: DataConfig) -> Splits:
    """A data set. Raises InputError or DataError when it cannot be had."""
    _, source = dataset_named(config.dataset)
    source.check(config)
    if _kept is None or config not in _kept:
        splits = source.load(config)
        assert isinstance(splits, Splits)
        if _kept is None:
            return splits
        _kept[config] = splits
    return _kept[config]


@contextmanager
def splits_kept() -> Iterator[None]:
    """Inside, a data set is loaded once and no more."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


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
    return _options("DATA_OPTIONS")  # type: ignore[return-value]


def factor_names() -> list[str]:
    """The factors that tasks name by a title, for lists of runs."""
    return list(_options("FACTOR_TITLES"))

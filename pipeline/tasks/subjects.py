"""What a stage works on: a model and data by the names that a person gives them, and the task that joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.imports import is_reference, load_object
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.data.source import Source
from pipeline.data.sources import SOURCES, find_source
from pipeline.data.sources.options import TEST_SIZE
from pipeline.data.splitting import guess_task
from pipeline.models.own.definition import Definition, find_definition
from pipeline.models.variant import Variant
from pipeline.tasks.adoption import adopt, without_data
from pipeline.tasks.api import Task
from pipeline.tasks.registry import task_of, tasks, variants

MODELS = "variantlab.models"
"""The group of entry points by which installed packages bring models."""
Model = str | Definition
"""By name, or as a program has it."""
Found = TypeVar("Found")


def find_task(name: str) -> Task:
    """The task of this name, or of what its variants learn, such as `pairs`, or a person's own as `module:TASK`.

    Raises UnknownNameError with the near misses, and InputError where a module cannot be had or has no task.
    """
    known = {**{variant.task: task_of(variant) for variant in variants().values()}, **tasks()}
    if name in known:
        return known[name]
    if not is_reference(name):
        raise UnknownNameError("task", name, known)
    _, found = load_object(name, "task")
    if not isinstance(found, Task):
        raise InputError(f"--task names a variantlab.Task, but {name} is {found!r}")
    return found


def find_dataset(config: DataConfig) -> tuple[Task | None, Source]:
    """How a data set is had, and the task that it is of; None where its target will say.

    Raises UnknownNameError with the near misses.
    """
    asked = find_task(config.task) if config.task else None
    if config.given is not None:
        given = config.given
        return asked, Source(load=lambda _: given, options=(TEST_SIZE,))
    for task in [asked] if asked else tasks().values():
        if config.dataset in task.datasets:
            return task, task.datasets[config.dataset]
    if source := find_source(config.dataset):
        return asked, source
    own = [name for task in ([asked] if asked else tasks().values()) for name in task.datasets]
    raise UnknownNameError("dataset", config.dataset, dict.fromkeys([*own, *SOURCES]))


def check_data(config: DataConfig) -> None:
    """Raise InputError for what the data set does not take."""
    _, source = find_dataset(config)
    source.check(config)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set that is there, and the task that is learned from it."""

    task: Task
    splits: Splits
    guessed: str = ""
    """Why it is this task, where nobody has said so."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a stage works on: a variant, with data that it can learn from."""

    variant: Variant
    task: Task
    splits: Splits
    guessed: str = ""


_kept: dict[object, Any] | None = None


def open_data(config: DataConfig) -> Data:
    """A data set, split as its task says. Raises InputError or DataError when it cannot be had."""
    return _once(config, lambda: _open_data(config))


def _open_data(config: DataConfig) -> Data:
    task, source = find_dataset(config)
    source.check(config)
    loaded, guessed = source.load(config), ""
    if isinstance(loaded, Splits):
        if task is None:
            raise InputError(
                f"--dataset {config.dataset} gives its own splits, so say --task what is learned from them"
            )
        return Data(task=task, splits=loaded)
    if task is None:
        name, why = guess_task(loaded.target, loaded.classes)
        if not name:
            raise InputError(f"what is learned could be classification or regression ({why}); choose one with --task")
        task, guessed = tasks()[name], f"{name}, since {why}"
    if task.split is None:
        raise InputError(
            f"--task {config.task} has data sets of its own, so use --dataset {' or '.join(task.datasets)}, but got "
            f"--dataset {config.dataset}"
        )
    return Data(task=task, splits=task.split(loaded, _test_size(config)), guessed=guessed)


def _test_size(config: DataConfig) -> float:
    text = TEST_SIZE.of(config)
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--test-size must be a share between 0 and 1, but got {text!r}") from None


def load_splits(config: DataConfig) -> Splits:
    """A data set. Raises InputError or DataError when it cannot be had."""
    return open_data(config).splits


def usual_samples(config: DataConfig) -> int:
    """How many training samples a round has where nobody says so; 0 for all."""
    _, source = find_dataset(config)
    return source.samples


def example_of(config: DataConfig) -> str:
    """A variant that learns from this data set, for examples of commands; empty where there is none."""
    task, _ = find_dataset(config)
    if task is None or config.dataset not in task.datasets:
        return ""
    return task.example or task.variants[0].name


def installed_models() -> dict[str, str]:
    """The models that installed packages bring: name -> `package.module:Name`."""
    return {point.name: point.value for point in entry_points(group=MODELS)}


def find_model(model: Model) -> Variant | Definition:
    """What a person names: a variant of the registry, an entry point, or a reference to their own code.

    Raises UnknownNameError with the near misses, and InputError where their own code cannot be used.
    """
    if isinstance(model, Definition):
        return model
    if model in variants():
        return variants()[model]
    installed = installed_models()
    reference = installed.get(model, model)
    if not is_reference(reference):
        raise UnknownNameError("model", model, [*variants(), *installed])
    found = _once(reference, lambda: find_definition(reference))
    if found.name in variants():
        raise InputError(f"{found.name} is a variant of variantlab, so a model of your own needs another name")
    return found


def variant_named(model: str) -> Variant:
    """What a person names, before any data are at hand: it says which hyperparameters a model has.

    Raises as `find_model`.
    """
    found = find_model(model)
    return found if isinstance(found, Variant) else without_data(found)


def variant_for(model: Model, data: DataConfig) -> Variant:
    """The variant of this name, or what a task makes of a person's own model; the data are had for that alone."""
    found = find_model(model)
    return open_subject(model, data).variant if isinstance(found, Definition) else by_metric(found, data.metric)


def open_subject(model: Model, config: DataConfig) -> Subject:
    """A model and its data. Raises InputError where they do not go together, and DataError where data are faulty."""
    found = find_model(model)
    if isinstance(found, Variant):
        check_dataset(found, config)
        data = open_data(config)
        variant = found
    else:
        data = open_data(config)
        variant = _once((found, config), lambda: adopt(found, data.task, data.splits))
    return Subject(variant=by_metric(variant, config.metric), task=data.task, splits=data.splits, guessed=data.guessed)


def check_dataset(variant: Variant, config: DataConfig) -> None:
    """Raise InputError unless a variant of the registry can learn from this data set."""
    task, _ = find_dataset(config)
    if task is None or variant not in task.variants or config.dataset not in task.datasets:
        own = " or ".join(task_of(variant).datasets)
        raise InputError(
            f"{variant.name} learns from {own}, so use --dataset {own}, but got --dataset {config.dataset}"
        )


def by_metric(variant: Variant, name: str) -> Variant:
    """The variant, searched and ranked by this one of its metrics."""
    if not name or name == variant.metric.name:
        return variant
    known = {metric.name: metric for metric in variant.metrics}
    if name not in known:
        raise UnknownNameError("metric", name, known)
    if known[name].direction != "minimize":
        less = ", ".join(metric.name for metric in variant.metrics if metric.direction == "minimize")
        raise InputError(f"what is searched must be better the less it is ({less}), but got --metric {name}")
    others = [metric for metric in variant.metrics if metric.name != name]
    return replace(variant, metrics=(known[name], *others))


def _once(key: object, make: Callable[[], Found]) -> Found:
    if _kept is None:
        return make()
    if key not in _kept:
        _kept[key] = make()
    found: Found = _kept[key]
    return found


@contextmanager
def kept(cache: dict[object, Any] | None = None) -> Iterator[None]:
    """Inside, a data set is loaded once and no more, and so are a person's code and what a task makes of it.

    A `cache` is for the next time too.
    """
    global _kept
    before, _kept = _kept, {} if cache is None else cache
    try:
        yield
    finally:
        _kept = before

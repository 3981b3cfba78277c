"""`file.py:load` and `package.module:load`: samples that a person's own function gives."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.base.errors import DataError, InputError, VariantlabError
from pipeline.base.imports import explain, load_object
from pipeline.data.arrays import arrays, named_arrays
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.options import IMPUTE, TEST_SIZE, impute_of

FORMS = "(X, y), (X, y, group), a dictionary of these names, Labelled or Splits"


def load(config: DataConfig) -> Splits | Labelled:
    """What the function gives: (X, y), (X, y, group), a dictionary with these names, `Labelled` or `Splits`.

    It takes nothing, or the `DataConfig`, which has `--data-dir`. Raises InputError where it cannot be found, and
    DataError where it fails or gives something else, with the line of the person's own code.
    """
    module, function = load_object(config.dataset, "data set")
    if not callable(function):
        raise DataError(f"{config.dataset} must be a function that gives {FORMS}, but is {type(function).__name__}")
    takes_config = _takes_config(function, config.dataset)
    if config.data_dir and not takes_config:
        raise InputError(f"{config.dataset} takes nothing, so there must be no --data-dir, but got {config.data_dir!r}")
    folders = [Path(module.__file__).resolve().parent] if module.__file__ else []
    try:
        found = function(config) if takes_config else function()
    except VariantlabError:
        raise
    except (Exception, SystemExit) as error:  # whatever a person's code raises
        raise DataError(f"{config.dataset} must give samples, but {explain(error, folders)}") from error
    return _samples(found, config, f"{config.dataset} of {module.__file__}")


def _takes_config(function: Any, dataset: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # one that is not written in Python
        return False
    needed = [
        each
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(needed) > 1 or any(each.kind == each.KEYWORD_ONLY for each in needed):
        names = ", ".join(each.name for each in needed)
        raise DataError(f"{dataset} must take nothing, or the DataConfig alone, but needs {names}; give them defaults")
    return bool(needed)


def _samples(found: Any, config: DataConfig, source: str) -> Splits | Labelled:
    name, impute = config.dataset, impute_of(config)
    if isinstance(found, Splits | Labelled):
        return found
    if isinstance(found, Mapping):
        return replace(named_arrays(found, name=name, impute=impute), source=source)
    if isinstance(found, tuple | list) and len(found) in (2, 3):
        x, y, *group = found
        return replace(arrays(x, y, group=group[0] if group else None, name=name, impute=impute), source=source)
    held = f" of {len(found)}" if isinstance(found, tuple | list) else ""
    raise DataError(f"{name} must give {FORMS}, but gave {type(found).__name__}{held}")


FUNCTION = Source(load=load, options=(TEST_SIZE, IMPUTE), takes_folder=True)

"""spaces: search space files checked, without searching."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.base.errors import InputError, StageError
from pipeline.base.resources import DISTRIBUTION
from pipeline.models.variant import Variant
from pipeline.stages.searching.config import TWO_STEP, default_space, space_file
from pipeline.tasks.registry import get_variant, variants
from pipeline.tasks.subjects import variant_named
from pipeline.tuning.dimensions import Dimension
from pipeline.tuning.space import Space
from pipeline.tuning.space_file import SPACES, family_space, listed_models, load_space


def check_file(file: str, model: str = "") -> str:
    """What a file says of the variants that it is for: `model`, those that it lists, or the one that it is named after.

    Raises SpaceError for the first mistake, and InputError when no variant is known.
    """
    path = space_file(file)
    names = [model] if model else listed_models(path, variants()) or _named_after(path.stem)
    if not names:
        raise InputError(f"a space is checked for a model, but {path} names none; give one with --model")
    spaces = [load_space(variant_named(name), path, complete=_is_complete(path)) for name in names]
    return f"{path}: correct for {', '.join(names)}\n{_describe(spaces[0])}"


def check_all() -> str:
    """All files in `search_spaces/`, each for every variant that reads it. Raises SpaceError for the first mistake, and
    StageError if there is none.
    """
    readers: dict[Path, list[Variant]] = {path: [] for path in sorted(SPACES.rglob("*.yaml"))}
    if not readers:
        raise StageError(f"the search spaces are *.yaml files, but {SPACES} has none; install {DISTRIBUTION} again")
    for variant in variants().values():
        for sampler in ("tpe", "two-step", "screen"):
            path = default_space(variant, sampler)
            if path in readers:
                readers[path].append(variant)
    lines = []
    for path, found in readers.items():
        models = found or [get_variant(name) for name in listed_models(path, variants())]
        if not models:
            raise InputError(f"every space must be for a model, but {path} names none; list its models")
        for variant in models:
            load_space(variant, path, complete=_is_complete(path))
        lines.append(f"{path.relative_to(SPACES)}: correct for {len(models)} variant{'s' if len(models) > 1 else ''}")
    return "\n".join(lines)


def _named_after(name: str) -> list[str]:
    """The variants of this family, or the one of this name."""
    family = [variant.name for variant in variants().values() if family_space(variant).stem == name]
    return family or ([name] if name in variants() else [])


def _is_complete(path: Path) -> bool:
    """Whether a file is for searches of all combinations: those in the folders of `search_spaces/`, and `two_step`."""
    real, spaces = (Path(os.path.realpath(each)) for each in (path, SPACES))  # `resolve` raises for a link to itself
    return spaces in real.parents and (real.parent != spaces or real.stem == TWO_STEP)


def _describe(space: Space) -> str:
    lines, first_values = [], space.preset_parameters
    for name, dimension in space.dimensions.items():
        condition = space.conditions.get(name)
        where = f", where {condition.name} is {' or '.join(map(str, condition.values))}" if condition else ""
        first = f"; first {first_values[name]}" if name in first_values and len(dimension.grid) != 1 else ""
        lines.append(f"  {name}: {_values(dimension)}{where}{first}")
    return "\n".join([*lines, *(f"  always {constraint.text}" for constraint in space.constraints)])


def _values(dimension: Dimension) -> str:
    """`0.5 to 0.9, 5 values`, or `always 0.9`."""
    if len(dimension.grid) == 1:
        return f"always {dimension.grid[0]}"
    ends = " to ".join(map(str, dimension.ends)) if len(dimension.ends) == 2 else dimension.ends
    return f"{ends}, {f'{len(dimension.grid)} values' if dimension.grid else 'any number in it'}"

"""Reads search spaces from `search_spaces/*.yaml`.

A file is one mapping from hyperparameter to dimension:

    lr:         {type: float, low: 1e-4, high: 1e-2, log: true, significant_digits: 3}
    batch_size: {type: choice, values: [10, 25, 50, 100]}
    epochs:     {type: int, low: 10, high: 50, step: 5, default: 20}
    optimiser:  {type: choice, values: [adam, sgd]}
    momentum:   {type: float, low: 0.5, high: 0.95, step: 0.05, default: 0.9, when: {optimiser: sgd}}
    alpha:      {type: choice, values: [0.5, 1.0], optional: true}
    constraints:
      - batch_size * epochs <= 2500

What is not named keeps the value of the model's preset; the options of the model's structure are named like any other.
`significant_digits` rounds proposals. A range whose ends are equal is a constant. `default` is tried first instead of
the preset's value, and so is a constant. What a `when` rules out is as in the preset. What is `optional`, such as
`alpha`, is left out for a variant that has no such hyperparameter, and so is a constructor argument of some of a
person's own models. `constraints` are comparisons that every configuration fulfils; `models` lists the variants that a
file is for, if it is not for all that have its hyperparameters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pipeline.base.errors import InputError, SpaceError, UnknownNameError, near_misses
from pipeline.base.files import given_path
from pipeline.base.resources import resource_folder
from pipeline.models.hyperparameters import BATCH_NORM, HYPERPARAMETERS, Value
from pipeline.models.variant import Variant
from pipeline.tuning.constraints import Constraint, parse_constraint
from pipeline.tuning.dimension_reader import OPTIONAL, DimensionReader
from pipeline.tuning.dimensions import Choice
from pipeline.tuning.space import Condition, Space
from pipeline.tuning.strict_yaml import Node, read_yaml

SPACES = resource_folder("search_spaces")
MODELS, CONSTRAINTS = "models", "constraints"
MAX_COMBINATIONS, MAX_CONSTRAINTS = 5000, 10


def space_path(given: str) -> Path:
    """The file that a person names: their own, or one of `search_spaces/`, with or without the name of that folder."""
    path, own = Path(given), given_path(given)
    parts = path.parts[1:] if path.parts[:1] == (SPACES.name,) else path.parts
    if os.path.exists(own) or path.is_absolute() or ".." in parts:
        return own
    shipped = SPACES.joinpath(*parts)
    return shipped if os.path.isfile(shipped) else path


def family_space(variant: Variant) -> Path:
    """The file in `search_spaces/` that a variant has to itself, or that of its family."""
    own = SPACES / f"{variant.name}.yaml"
    return own if own.exists() else SPACES / f"{variant.family}.yaml"


def load_space(variant: Variant, path: Path | None = None, *, complete: bool = False) -> Space:
    """Read the space of a variant: that of its family in `search_spaces/`, or the file at `path`.

    A `complete` search tries all combinations, so every dimension must have finitely many values, but the preset need
    not be among them. Raises UnknownNameError when there is no such file, and SpaceError, naming file, line, rule and
    near miss, when it breaks a rule or holds something that the variant does not have.
    """
    path = path or family_space(variant)
    if not os.path.exists(path):  # which is False for a name that is too long to be one
        spaces = (other.relative_to(SPACES.parent).as_posix() for other in SPACES.rglob("*.yaml"))
        raise UnknownNameError("search space", str(path), spaces)
    name, fields = str(path), _fields(path)
    _check_models(name, fields.pop(MODELS, None), variant)
    listed = fields.pop(CONSTRAINTS, None)
    readers = {key: _reader(name, key, node, variant) for key, node in fields.items() if _applies(key, node, variant)}
    if not readers:
        raise SpaceError(name, 1, "a search space must name at least one hyperparameter")
    dimensions = {key: reader.dimension() for key, reader in readers.items()}
    conditions: dict[str, Condition] = {}
    for key, reader in readers.items():
        above = {other: dimensions[other] for other in list(readers)[: list(readers).index(key)]}
        if condition := reader.condition(above):
            conditions[key] = condition
    defaults = {
        key: value
        for key, reader in readers.items()
        if (value := reader.default(dimensions[key], complete=complete)) is not None
    }
    first = Space(dimensions=dimensions, preset=variant.preset.replaced(defaults), conditions=conditions)
    searched = first.preset_parameters  # what a condition rules out, stays as in the preset of the model
    space = Space(
        dimensions=dimensions,
        preset=variant.preset.replaced({key: value for key, value in defaults.items() if key in searched}),
        conditions=conditions,
        constraints=_constraints(name, listed, variant),
    )
    _check_combinations(name, fields, space, variant)
    if complete:
        _check_finite(name, readers, space, listed)
    else:
        _check_first(name, fields, space, variant, listed)
    return space


def _check_finite(path: str, readers: Mapping[str, DimensionReader], space: Space, listed: Node | None) -> None:
    """Refuse a space whose combinations cannot all be tried."""
    for key, dimension in space.dimensions.items():
        if not dimension.grid:
            raise readers[key].fail("all combinations are tried, so give a step, or type: choice")
    if (count := math.prod(len(dimension.grid) for dimension in space.dimensions.values())) > MAX_COMBINATIONS:
        raise SpaceError(path, None, f"a space may have {MAX_COMBINATIONS} combinations at most, but got {count:.4g}")
    if not space.grid(space.dimensions):
        raise SpaceError(path, None if listed is None else listed.line, "the constraints leave no combination")


def _check_first(path: str, fields: Mapping[str, Node], space: Space, variant: Variant, listed: Node | None) -> None:
    """Refuse a space that does not admit what a search tries first."""
    preset = space.preset.as_dict()
    for key in space.preset_parameters:
        if (value := preset[key]) not in space.dimensions[key]:
            raise SpaceError(
                path,
                fields[key].line,
                f"{key} must admit {value}, the preset of {variant.name}, which every search tries first; or give a "
                f"default",
            )
    if listed is not None and not space.admits(space.preset_parameters):
        raise SpaceError(
            path,
            listed.line,
            f"the constraints must admit what is tried first, {space.preset_parameters}; give defaults",
        )


def listed_models(path: Path, known: Collection[str] | None = None) -> list[str]:
    """The variants that a file says it is for, of the `known` ones; empty if it does not. Raises SpaceError."""
    node = _fields(path).get(MODELS)
    if node is None:
        return []
    if not isinstance(node.value, list) or not node.value:
        raise SpaceError(str(path), node.line, f"{MODELS} must be a list of model variants, but got {node.kind}")
    for child in node.value:
        if not isinstance(child.value, str):
            raise SpaceError(
                str(path), child.line, f"{MODELS} must be a list of model variants, but one is {child.kind}"
            )
        if known is not None and child.value not in known:
            hint = near_misses(child.value, list(known))
            raise SpaceError(str(path), child.line, f"unknown model {child.value!r}; {hint}")
    return [child.value for child in node.value]


def _fields(path: Path) -> dict[str, Node]:
    root = read_yaml(path)
    if not isinstance(root.value, dict) or not root.value:
        raise SpaceError(
            str(path), root.line, f"a search space must be a mapping of hyperparameters, but got {root.kind}"
        )
    return dict(root.value)


def _check_models(path: str, node: Node | None, variant: Variant) -> None:
    if node is not None and variant.name not in (models := listed_models(Path(path))):
        raise SpaceError(path, node.line, f"the file is for {', '.join(models)}, but the model is {variant.name}")


def _reader(path: str, key: str, node: Node, variant: Variant) -> DimensionReader:
    try:
        variant.kind_of(key, CONSTRAINTS, MODELS)
    except InputError as error:
        raise SpaceError(path, node.line, str(error)) from None
    return DimensionReader(path, key, node, variant)


def _applies(key: str, node: Node, variant: Variant) -> bool:
    """Whether a variant has a hyperparameter, or a file must not name it."""
    optional = isinstance(node.value, dict) and OPTIONAL in node.value and node.value[OPTIONAL].value is True
    return key in variant.hyperparameters or not (optional and (key in HYPERPARAMETERS or variant.foreign))


def _constraints(path: str, node: Node | None, variant: Variant) -> tuple[Constraint, ...]:
    if node is None:
        return ()
    if not isinstance(node.value, list) or not node.value:
        raise SpaceError(path, node.line, f"{CONSTRAINTS} must be a list of comparisons, but got {node.kind}")
    if len(node.value) > MAX_CONSTRAINTS:
        raise SpaceError(
            path, node.line, f"a space may have {MAX_CONSTRAINTS} {CONSTRAINTS} at most, but got {len(node.value)}"
        )
    numbers = [name for name, kind in variant.hyperparameters.items() if kind in (int, float)]
    found = []
    for child in node.value:
        if not isinstance(child.value, str):
            raise SpaceError(path, child.line, f"a constraint must be text, but got {child.kind}")
        try:
            found.append(parse_constraint(child.value, numbers))
        except InputError as error:
            raise SpaceError(path, child.line, str(error)) from None
    return tuple(found)


def _check_combinations(path: str, fields: Mapping[str, Node], space: Space, variant: Variant) -> None:
    """Refuse a space in which a schedule could end above its beginning, or a single sample be normalised."""
    extremes: dict[str, Value] = {}
    for name, end in (("lr", min), ("lr_min", max)):
        if name in space.dimensions:
            extremes[name] = end(space.dimensions[name].ends)
    if any("lr_min" in constraint.text for constraint in space.constraints):
        extremes = {}  # what it does not rule out, is not admitted
    schedule = space.dimensions.get("schedule")
    schedules = schedule.values if isinstance(schedule, Choice) else (space.preset.schedule,)
    for value in schedules:
        try:
            space.preset.replaced({**extremes, "schedule": value})
        except InputError as error:
            raise SpaceError(path, fields["lr_min" if "lr_min" in fields else "lr"].line, str(error)) from None
    batch_norm = space.dimensions.get(BATCH_NORM.name)
    if "batch_size" in space.dimensions and isinstance(batch_norm, Choice) and True in batch_norm.values:
        try:
            least = min(space.dimensions["batch_size"].ends)
            variant.check(space.preset.replaced({"batch_size": least, BATCH_NORM.name: True}))
        except InputError as error:
            raise SpaceError(path, fields["batch_size"].line, str(error)) from None

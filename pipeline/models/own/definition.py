"""A model that a person brings, before it is known what it learns from."""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
from torch import nn

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.imports import FILE_PREFIX, load_object, public_names
from pipeline.models.hyperparameters import Option, Value
from pipeline.models.own.arguments import HOW_ALONE, Arguments, hints_of, options_of
from pipeline.models.own.factors import DECLARED, Declared
from pipeline.models.own.portable import Constructor, FromInstance
from pipeline.models.variant import Level


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the data; constructor arguments of these names are filled in."""

    input_shape: tuple[int, ...]
    in_features: int
    """Numbers of a sample."""
    in_channels: int
    """The first of its dimensions."""
    out_features: int
    """Numbers that the network has to give for a sample."""
    num_classes: int | None = None
    """Classes of the target, where it has any."""
    num_embeddings: int | None = None
    """One more than the greatest index, where inputs are indices."""

    @property
    def given(self) -> dict[str, Any]:
        """By argument."""
        return {name: value for name, value in vars(self).items() if value is not None}


FILLED = tuple(Facts.__dataclass_fields__)
"""Constructor arguments that the data fill in."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A model that a person brings; a task makes a `Variant` of it once the data are known."""

    name: str
    family: str
    reference: str
    """How it is named on the command line."""
    target: Callable[..., Any]
    is_estimator: bool
    factors: Mapping[str, Level] = field(default_factory=dict, hash=False)
    fixed: Mapping[str, Level] = field(default_factory=dict, hash=False)
    """Constructor arguments that are levels of factors."""
    code: str
    """Twelve hexadecimal characters that change when the code does that it depends on in its file (comments do not
    count), or the version of the package that it is from."""
    source: str
    """Its docstring."""
    folder: Path | None = None
    """Where its file is: a search looks there for a space."""

    def options(self) -> tuple[Option, ...]:
        """The constructor arguments that have defaults, of which each can be searched.

        Raises InputError for an argument without a default that is not filled in either.
        """
        return tuple(option for option, _ in self._options().values())

    def defaults(self) -> tuple[tuple[str, Value], ...]:
        """Option -> the constructor's default."""
        found = [(option.name, option.default) for option in self.options()]
        return tuple((name, value) for name, value in found if value is not None)

    def _options(self) -> Arguments:
        """By argument."""
        without = HOW_ALONE if self.is_estimator else ()
        if isinstance(self.target, FromInstance):
            given = self.target.instance.get_params()
            return options_of(
                {name: value for name, value in given.items() if name.rpartition("__")[2] not in without}, {}, self.name
            )
        hints, defaults = hints_of(self.target), dict[str, Any]()
        for parameter in self._parameters().values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in self.fixed:
                continue
            if parameter.name in (*FILLED, *without):
                continue
            if parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
                raise InputError(
                    f"constructor arguments have defaults, or are called {', '.join(FILLED)} and filled in from the "
                    f"data, but {parameter.name} of {self.name} has none; give it one"
                )
            defaults[parameter.name] = parameter.default
        return options_of(defaults, hints, self.name)

    def constructor(self, facts: Facts) -> Constructor:
        """How it is made for data. Raises InputError for an argument that these data cannot fill."""
        options = self._options()
        names = () if isinstance(self.target, FromInstance) else tuple(self._parameters())
        given = {name: value for name, value in facts.given.items() if name in names}
        for name in names:
            if name in FILLED and name not in given and self._needs(name):
                raise InputError(f"{name} is filled in from the data, but {self.name} asks for it where there is none")
        return Constructor(
            target=self.target,
            given={**given, **self.fixed},
            arguments={option.name: name for name, (option, _) in options.items() if option.name != name},
            enums={option.name: kind for option, kind in options.values() if kind is not None},
            optional=frozenset(option.name for option, _ in options.values() if option.optional),
        )

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        """The constructor's, by name."""
        try:
            return inspect.signature(self.target).parameters
        except ValueError:  # one that is not written in Python
            raise InputError(
                f"constructor arguments are read from a signature, but {self.name} has none; give a function of your "
                f"own that calls it"
            ) from None

    def _needs(self, name: str) -> bool:
        parameter = self._parameters()[name]
        return parameter.default is parameter.empty


def find_definition(reference: str) -> Definition:
    """The model of this reference: `file.py:Name`, `package.module:Name`.

    Raises InputError where it cannot be had, or has several variants, and UnknownNameError with the near misses.
    """
    place, _, name = reference.rpartition(":")
    try:
        module, target = load_object(reference, "model")
    except UnknownNameError:
        module, _ = load_object(f"{place}:__name__", "model")
        declared = {each.name: each for each in _declared(module, place)}
        if name not in declared:
            raise UnknownNameError(f"model in {place}", name, [*public_names(module), *declared]) from None
        return declared[name]
    found = definitions_of(target, reference=reference, module=module)
    if len(found) > 1:
        raise InputError(
            f"one variant is trained at a time, but {name} declares {len(found)}; choose one of them: "
            f"{', '.join(f'{place}:{each.name}' for each in found)}"
        )
    return found[0]


def _declared(module: ModuleType, place: str) -> list[Definition]:
    """All variants of what a module declares factors of."""
    targets = [(name, each) for name, each in vars(module).items() if DECLARED in getattr(each, "__dict__", {})]
    return [
        found for name, each in targets for found in definitions_of(each, reference=f"{place}:{name}", module=module)
    ]


def definitions_of(target: object, *, reference: str = "", module: ModuleType | None = None) -> list[Definition]:
    """The variants that a class, a function or an estimator stands for: one, or one for each combination of factors.

    Raises InputError for anything else.
    """
    name = reference.rpartition(":")[2] or getattr(target, "__name__", type(target).__name__)
    if isinstance(target, nn.Module):
        raise InputError(
            f"every replica needs a network of its own, but {name} is one network; give its class, or a function that "
            f"makes one"
        )
    is_instance = not isinstance(target, type) and hasattr(target, "fit") and hasattr(target, "get_params")
    if not is_instance and not callable(target):
        raise InputError(f"a model is a class, a function that makes one, or an estimator, but {name} is {target!r}")
    made: Callable[..., Any] = FromInstance(instance=target) if is_instance else target  # type: ignore[assignment]
    declared: Declared = getattr(target, "__dict__", {}).get(DECLARED, Declared(family=name, levels={}, marks={}))
    is_class = isinstance(target, type)
    whole = Definition(
        name=name.replace(".", "_"),
        family=declared.family,
        reference=reference or name,
        target=made,
        is_estimator=is_instance or (is_class and hasattr(target, "fit") and hasattr(target, "predict")),
        factors=declared.marks,
        code=_code(target, module, name),
        source=inspect.cleandoc(getattr(target, "__doc__", "") or "").partition("\n\n")[0],
        folder=_folder(module),
    )
    if not declared.levels:
        return [whole]
    combinations = [
        dict(zip(declared.levels, each, strict=True)) for each in itertools.product(*declared.levels.values())
    ]
    return [
        replace(
            whole,
            name=whole.name + "".join(_suffix(factor, level) for factor, level in levels.items()),
            reference=f"{whole.reference.rpartition(':')[0]}:{whole.name}".lstrip(":")
            + "".join(_suffix(factor, level) for factor, level in levels.items()),
            factors={**declared.marks, **levels},
            fixed=levels,
        )
        for levels in combinations
    ]


def _suffix(factor: str, level: Level) -> str:
    if isinstance(level, bool):
        return f"_{factor}" if level else ""
    return f"_{level}" if isinstance(level, str) else f"_{factor}{level}"


def _folder(module: ModuleType | None) -> Path | None:
    is_file = module is not None and module.__name__.startswith(FILE_PREFIX)
    return Path(str(module.__file__)).parent if module is not None and is_file else None


def _code(target: object, module: ModuleType | None, name: str) -> str:
    kind = target if isinstance(target, type) or inspect.isfunction(target) else type(target)
    home = module if module is not None else sys.modules.get(kind.__module__)
    where = kind.__module__ if home is None else home.__name__
    parts = [
        f"{each} {kind.__qualname__} {version}"
        for each in dict.fromkeys((kind.__module__, where))
        if (version := _version(each))
    ]
    file = str(getattr(home, "__file__", ""))
    if file.endswith(".py") and not _version(where):
        top = (kind.__qualname__ if module is None else name).partition(".")[0]
        parts.append(_depended_on(ast.parse(Path(file).read_text(encoding="utf-8")), top))
    if not parts:  # typed into a notebook
        try:
            parts.append(inspect.getsource(kind))
        except (OSError, TypeError):
            parts.append(cloudpickle.dumps(kind).hex())
    if kind is not target and hasattr(target, "get_params"):
        parts += _parts(target.get_params())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _version(module: str) -> str:
    """Of the package that a module is in; empty for a module by itself, such as a person's file."""
    package = module.partition(".")[0]
    return "" if package == module else str(getattr(sys.modules.get(package), "__version__", ""))


def _parts(parameters: Mapping[str, Any]) -> list[str]:
    """What an estimator is made of: its parameters, those that are no simple values by their kind."""
    return [
        f"{name}={value!r}" if isinstance(value, int | float | str | None) else f"{name}: {type(value).__qualname__}"
        for name, value in sorted(parameters.items())
    ]


def _depended_on(file: ast.Module, name: str) -> str:
    """The statements of a file on which a definition depends, without comments and layout; all where it has none of
    this name."""
    defining: dict[str, list[ast.stmt]] = {}
    for statement in file.body:
        for each in _names(statement):
            defining.setdefault(each, []).append(statement)
    wanted, found = [name], set[str]()
    while wanted:
        if (each := wanted.pop()) in defining and each not in found:
            found.add(each)
            parts = (part for statement in defining[each] for part in ast.walk(statement))
            wanted += [part.id for part in parts if isinstance(part, ast.Name)]
    needed = {id(statement) for each in found for statement in defining[each]}
    kept = [each for each in file.body if not found or id(each) in needed or not _names(each)]
    return "\n".join(map(ast.unparse, kept))


def _names(statement: ast.stmt) -> list[str]:
    """What a statement of a file defines or imports."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(alias.asname or alias.name).partition(".")[0] for alias in names]
        case ast.Assign(targets=targets):
            return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []

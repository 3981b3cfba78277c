"""Constraints of a search space: comparisons of hyperparameters, such as `batch_size * epochs <= 2000`."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.hyperparameters import Value

MAX_LENGTH, MAX_DEPTH = 200, 20
Numbers = Mapping[str, Value]
"""Of a configuration, by name."""
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
RULE = "a constraint compares numbers, hyperparameters and what + - * / make of them, such as lr_min <= lr / 10"


@dataclass(frozen=True)
class Constraint:
    """One comparison that every configuration of a space fulfils."""

    text: str

    def holds(self, values: Numbers) -> bool:
        """Whether a configuration fulfils it; not where its arithmetic has no result."""
        relations, sides = _read(self.text)
        try:
            numbers = [side(values) for side in sides]
        except (ZeroDivisionError, OverflowError):
            return False
        return all(map(operator.call, relations, numbers, numbers[1:]))


def parse_constraint(text: str, numbers: Collection[str]) -> Constraint:
    """Read a constraint on hyperparameters of these names.

    Raises InputError for what is not a comparison of arithmetic, and UnknownNameError for a name that is not known.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"{RULE}; it may have {MAX_LENGTH} characters, but got {len(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below
            comparison = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{RULE}; got {text!r}") from None
    if not isinstance(comparison, ast.Compare) or any(type(relation) not in COMPARISONS for relation in comparison.ops):
        raise InputError(f"{RULE}; got {text!r}")
    for side in (comparison.left, *comparison.comparators):
        _check(side, text, numbers, MAX_DEPTH)
    return Constraint(text)


def _check(node: ast.expr, text: str, numbers: Collection[str], depth: int) -> None:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            pass
        case ast.Name(id=name):
            if name not in numbers:
                raise UnknownNameError("number in a constraint", name, numbers)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in ARITHMETIC and depth:
            _check(left, text, numbers, depth - 1)
            _check(right, text, numbers, depth - 1)
        case ast.UnaryOp(op=ast.USub(), operand=operand) if depth:
            _check(operand, text, numbers, depth - 1)
        case _:
            raise InputError(f"{RULE}; got {text!r}")


@lru_cache  # a grid asks thousands of times
def _read(text: str) -> tuple[list[Callable[[Any, Any], bool]], list[Callable[[Numbers], Any]]]:
    """The relations of a comparison, and the sides that they stand between."""
    comparison = ast.parse(text, mode="eval").body
    assert isinstance(comparison, ast.Compare)
    sides = [_side(side) for side in (comparison.left, *comparison.comparators)]
    return [COMPARISONS[type(relation)] for relation in comparison.ops], sides


def _side(node: ast.expr) -> Callable[[Numbers], Any]:
    """What computes one side."""
    match node:
        case ast.Constant(value=value):
            return lambda _: value
        case ast.Name(id=name):
            return operator.itemgetter(name)
        case ast.UnaryOp(operand=operand):
            inner = _side(operand)
            return lambda values: -inner(values)
        case ast.BinOp(left=left, op=sign, right=right):
            compute, first, second = ARITHMETIC[type(sign)], _side(left), _side(right)
            return lambda values: compute(first(values), second(values))
    raise AssertionError(ast.dump(node))

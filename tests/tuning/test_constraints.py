"""Constraints are arithmetic and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.tuning.constraints import MAX_LENGTH, parse_constraint

NAMES = ("lr", "lr_min", "batch_size", "epochs")
NUMBERS = st.integers(0, 1000).map(str) | st.floats(0, 1e3, allow_nan=False).map(repr)
SIDES = st.recursive(
    NUMBERS | st.sampled_from(NAMES),
    lambda side: (
        st.tuples(side, st.sampled_from("+-*/"), side).map(lambda parts: f"({' '.join(parts)})")
        | side.map(lambda inner: f"-{inner}")
    ),
    max_leaves=6,
)
TEXTS = (
    st.lists(st.tuples(SIDES, st.sampled_from(["<", "<=", ">", ">=", "==", "!="])), min_size=1, max_size=2)
    .flatmap(lambda begun: SIDES.map(lambda last: " ".join([*(part for pair in begun for part in pair), last])))
    .filter(lambda text: len(text) <= MAX_LENGTH)
)
VALUES = st.fixed_dictionaries(
    {
        "lr": st.floats(0, 1, allow_nan=False),
        "lr_min": st.floats(0, 1, allow_nan=False),
        "batch_size": st.integers(0, 100),
        "epochs": st.integers(0, 100),
    }
)


@given(text=TEXTS, values=VALUES)
def test_a_constraint_holds_where_python_says_so(text: str, values: dict[str, float]) -> None:
    try:
        expected = eval(text, {"__builtins__": {}}, values)
    except ZeroDivisionError:
        expected = False
    assert parse_constraint(text, NAMES).holds(values) == expected


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("lr_min <= lr / 10", True),
        ("lr_min < lr / 10", False),
        ("batch_size * epochs <= 2000", False),
        ("20 < epochs < 101", True),
        ("20 < epochs < 100", False),
        ("1 / (epochs - 100) < 1e9", False),  # it has no value
        ("1 / (epochs - 100) >= 1e9", False),
        ("batch_size / 1e-300 / 1e-300 > 1", True),
    ],
)
def test_a_constraint_is_read_as_a_person_means_it(text: str, holds: bool) -> None:
    values = {"lr": 0.5, "lr_min": 0.05, "batch_size": 50, "epochs": 100}
    assert parse_constraint(text, NAMES).holds(values) is holds


HOSTILE = {
    "a call": "__import__('os').system('true') < 1",
    "a call of a name": "exit() < 1",
    "a call alone": "__import__('os')",
    "an attribute": "lr.real < 1",
    "a dunder": "lr.__class__ < 1",
    "an item": "lr[0] < 1",
    "a power": "9 ** 9 ** 9 < lr",
    "a shift": "1 << 99999 < lr",
    "a floor": "lr // 2 < 1",
    "a remainder": "lr % 2 < 1",
    "a matrix product": "lr @ lr < 1",
    "text": "'a' * 99 < lr",
    "bytes": "b'a' < lr",
    "a formatted string": "f'{lr}' < 1",
    "a list": "[lr] < 1",
    "a comprehension": "[lr for lr in lr] < 1",
    "a lambda": "(lambda: 1) < 2",
    "an assignment": "(lr := 1) < 2",
    "a statement": "import os",
    "two statements": "lr < 1; lr < 2",
    "two lines": "lr < 1\nlr < 2",
    "a choice": "(1 if lr else 2) < 3",
    "and": "lr < 1 and epochs < 2",
    "not": "not lr < 1",
    "plus": "+lr < 1",
    "a complement": "~epochs < 1",
    "membership": "lr in (1, 2)",
    "identity": "lr is epochs",
    "an ellipsis": "... < 1",
    "none": "None < 1",
    "a switch": "True < 2",
    "a complex number": "1j < 2",
    "no comparison": "lr + 1",
    "a nested comparison": "(lr < 1) < 2",
    "nothing": "",
    "a comment": "# lr < 1",
    "a NUL": "lr < 1\0",
    "half a character": "lr < \ud800",
    "an open bracket": "(lr < 1",
    "nested too deep": "-" * 150 + "1 < lr",
    "nested too deep to the left": "+".join("1" * 60) + " < lr",
    "nested in brackets without end": "(" * 100_000 + "lr < 1",
    "minus without end": "-" * 100_000 + "1 < lr",
    "too long": "lr < " + "1" * MAX_LENGTH,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_comparison_of_arithmetic_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^a constraint compares numbers") as caught:
        parse_constraint(text, NAMES)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@given(text=st.text("lrepochs_ 0123456789.<>=!+-*/()[]{}'\"\\:,;#\n\t\0éj@%~^&|", max_size=60) | st.text(max_size=20))
def test_arbitrary_text_is_a_constraint_or_refused(text: str) -> None:
    try:
        constraint = parse_constraint(text, NAMES)
    except InputError:
        return
    assert constraint.holds(dict.fromkeys(NAMES, 1)) in (True, False)


def test_a_name_that_is_not_known_is_named_with_its_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean batch_size"):
        parse_constraint("batchsize < 1", NAMES)

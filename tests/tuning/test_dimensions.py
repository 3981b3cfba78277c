from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.hyperparameters import Value
from pipeline.tuning.dimensions import Choice, Dimension, FloatRange, IntRange


@pytest.mark.parametrize("dimension", [FloatRange(low=0, high=1), IntRange(low=0, high=1), Choice(values=(0, 1))])
def test_a_name_is_in_no_range_of_numbers(dimension: Dimension) -> None:
    assert "adam" not in dimension
    assert "0" not in dimension


def drawn(dimension: Dimension, seed: int) -> list[Value]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [dimension.suggest(study.ask(), "x") for _ in range(5)]


def between(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


@given(low=between(1e-6, 1.0), width=between(1e-3, 10.0), log=st.booleans(), seed=st.integers(0, 99))
def test_suggested_real_numbers_lie_in_the_range(low: float, width: float, log: bool, seed: int) -> None:
    dimension = FloatRange(low=low, high=low + width, log=log)
    assert all(value in dimension for value in drawn(dimension, seed))


@given(low=st.integers(0, 30), step=st.sampled_from([0.1, 0.25, 0.3, 1.0]), steps=st.integers(1, 9))
def test_suggested_real_numbers_lie_on_the_grid(low: int, step: float, steps: int) -> None:
    dimension = FloatRange(low=low / 10, high=round(low / 10 + step * steps, 6), step=step)
    values = drawn(dimension, steps)
    assert all(value in dimension for value in values)
    assert all(isinstance(value, float) and dimension.low <= value <= dimension.high for value in values)


@given(low=st.integers(1, 30), step=st.integers(1, 9), steps=st.integers(1, 9), log=st.booleans())
def test_suggested_whole_numbers_lie_in_the_range(low: int, step: int, steps: int, log: bool) -> None:
    dimension = IntRange(low=low, high=low + step * steps, log=log, step=1 if log else step)
    values = drawn(dimension, steps)
    assert all(value in dimension and isinstance(value, int) for value in values)


@given(values=st.lists(st.integers(1, 1000), min_size=1, max_size=5, unique=True), seed=st.integers(0, 99))
def test_suggested_choices_are_among_the_values(values: list[int], seed: int) -> None:
    assert set(drawn(Choice(values=tuple(values)), seed)) <= set(values)


def test_neighbours_of_a_dimension_are_not_in_it() -> None:
    assert 0.3 in FloatRange(low=0.1, high=0.5, step=0.1)
    assert 0.35 not in FloatRange(low=0.1, high=0.5, step=0.1)
    assert 0.6 not in FloatRange(low=0.1, high=0.5)
    assert 12 not in IntRange(low=10, high=20, step=5)
    assert 25 not in IntRange(low=10, high=20, step=5)
    assert 3 not in Choice(values=(1, 2))


@given(values=st.lists(st.sampled_from(["adam", "sgd", "rmsprop"]), min_size=1, unique=True), seed=st.integers(0, 99))
def test_suggested_names_are_among_the_values(values: list[str], seed: int) -> None:
    dimension = Choice(values=tuple(values))
    assert all(value in dimension for value in drawn(dimension, seed))


@given(values=st.permutations([True, False]), seed=st.integers(0, 99))
def test_suggested_switches_are_true_or_false(values: list[bool], seed: int) -> None:
    suggested = drawn(Choice(values=tuple(values)), seed)
    assert all(isinstance(value, bool) for value in suggested)


@pytest.mark.parametrize(
    ("dimension", "grid"),
    [
        (FloatRange(low=0.1, high=0.5, step=0.1), (0.1, 0.2, 0.3, 0.4, 0.5)),
        (FloatRange(low=0.0, high=2.0, step=0.5), (0.0, 0.5, 1.0, 1.5, 2.0)),
        (FloatRange(low=1e-4, high=3e-4, step=1e-4), (1e-4, 2e-4, 3e-4)),
        (FloatRange(low=0.1, high=0.5), ()),
        (FloatRange(low=0.1, high=0.1), (0.1,)),
        (FloatRange(low=0.1, high=0.1, log=True, significant_digits=1), (0.1,)),
        (FloatRange(low=0.3, high=0.3, step=0.1), (0.3,)),
        (IntRange(low=5, high=5, step=3), (5,)),
        (FloatRange(low=0.1, high=0.5, log=True), ()),
        (IntRange(low=1, high=4), (1, 2, 3, 4)),
        (IntRange(low=10, high=50, step=20), (10, 30, 50)),
        (Choice(values=(0.5, 0.1)), (0.5, 0.1)),
        (Choice(values=("adam", "sgd")), ("adam", "sgd")),
        (Choice(values=(True, False)), (True, False)),
    ],
    ids=str,
)
def test_a_grid_has_all_values_in_order_and_none_if_they_have_no_number(
    dimension: Dimension, grid: tuple[Value, ...]
) -> None:
    assert dimension.grid == grid
    assert [type(value) for value in dimension.grid] == [type(value) for value in grid]


@given(low=st.integers(0, 30), step=st.sampled_from([0.1, 0.25, 0.3, 1.0]), steps=st.integers(1, 9))
def test_whatever_is_suggested_of_a_grid_of_real_numbers_is_one_of_them(low: int, step: float, steps: int) -> None:
    dimension = FloatRange(low=low / 10, high=round(low / 10 + step * steps, 6), step=step)
    assert len(dimension.grid) == steps + 1
    assert all(value in dimension for value in dimension.grid)
    for value in drawn(dimension, steps):
        assert min(abs(float(value) - point) for point in dimension.grid) < 1e-9


@given(low=st.integers(1, 30), step=st.integers(1, 9), steps=st.integers(1, 9))
def test_whatever_is_suggested_of_a_grid_of_whole_numbers_is_one_of_them(low: int, step: int, steps: int) -> None:
    dimension = IntRange(low=low, high=low + step * steps, step=step)
    assert len(dimension.grid) == steps + 1
    assert set(drawn(dimension, steps)) <= set(dimension.grid)


@given(
    low=between(1e-6, 1.0),
    width=between(1e-3, 10.0),
    digits=st.integers(1, 15),
    where=st.floats(0, 1),
    log=st.booleans(),
)
def test_a_number_is_rounded_to_digits_but_never_out_of_its_range(
    low: float, width: float, digits: int, where: float, log: bool
) -> None:
    dimension = FloatRange(low=low, high=low + width, log=log, significant_digits=digits)
    value = min(low + where * width, dimension.high)
    rounded = dimension.rounded(value)
    assert rounded in dimension
    assert dimension.rounded(rounded) == rounded
    assert rounded in dimension.ends or float(f"{rounded:.{digits}g}") == rounded
    assert abs(rounded - value) <= 10.0 ** (1 - digits) * value


def test_what_is_not_rounded_is_not_in_a_range_of_rounded_numbers() -> None:
    dimension = FloatRange(low=1.24e-4, high=1e-2, log=True, significant_digits=2)
    assert [value in dimension for value in (1.3e-3, 1.24e-4, 1e-2)] == [True] * 3
    assert [value in dimension for value in (1.31e-3, 1.26e-4, 1.1e-2)] == [False] * 3
    assert dimension.grid == ()

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.reports.statistics import Summary, summarise


@given(values=st.lists(st.floats(0.0, 1.0).map(lambda value: round(value, 4)), min_size=2, max_size=30))
def test_the_summary_is_that_of_scipy(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.n == len(values)
    assert summary.mean == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert summary.std**2 * (len(values) - 1) == pytest.approx(sum((value - summary.mean) ** 2 for value in values))
    if len(set(values)) > 1:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert [summary.low, summary.high] == pytest.approx([low, high], abs=1e-12)


def test_the_summary_of_three_values_is_that_of_a_table_of_t() -> None:
    summary = summarise([0.1, 0.2, 0.3])
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert [summary.mean, summary.std] == pytest.approx([0.2, 0.1])
    assert [summary.low, summary.high] == pytest.approx([0.2 - half, 0.2 + half])


@given(
    values=st.lists(st.floats(0.0, 1.0).map(lambda value: round(value, 4)), min_size=2, max_size=10),
    overlap=st.floats(0.0, 1.0),
)
def test_values_that_share_samples_say_less_about_their_mean(values: list[float], overlap: float) -> None:
    apart, shared = summarise(values), summarise(values, overlap=overlap)
    assert (shared.n, shared.mean, shared.std) == (apart.n, apart.mean, apart.std)
    widened = math.sqrt(1 + len(values) * overlap)
    assert shared.high - shared.mean == pytest.approx(widened * (apart.high - apart.mean), abs=1e-12)
    assert shared.mean - shared.low == pytest.approx(widened * (apart.mean - apart.low), abs=1e-12)


def test_the_interval_of_five_folds_is_corrected_as_nadeau_and_bengio_say() -> None:
    summary = summarise([0.1, 0.2, 0.3, 0.4, 0.5], overlap=1 / 4)
    assert summary.high - summary.mean == pytest.approx(2.7764451051977987 * math.sqrt((1 / 5 + 1 / 4) * 0.025))


def test_equal_values_have_no_spread() -> None:
    summary = summarise([0.25] * 4)
    assert (summary.mean, summary.std, summary.low, summary.high) == (0.25, 0, 0.25, 0.25)


def test_one_value_has_a_mean_alone() -> None:
    summary = summarise([0.25])
    assert (summary.n, summary.mean) == (1, 0.25)
    assert all(math.isnan(value) for value in (summary.std, summary.low, summary.high))


def test_texts_are_in_percent() -> None:
    summary = Summary(n=15, mean=0.0989, std=0.01361, low=0.09249, high=0.10531)
    assert summary.percent() == "9.89 ± 1.36 %"
    assert summary.interval() == "[9.25, 10.53]"

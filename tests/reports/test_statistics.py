from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.models.metrics import Unit
from pipeline.reports.statistics import Summary, summarise


def shares(least: int, most: int) -> st.SearchStrategy[list[float]]:
    """Shares of 1024 samples: sums of them are exact, so that equal means are equal to the last bit."""
    return st.lists(st.integers(0, 1024).map(lambda wrong: wrong / 1024), min_size=least, max_size=most)


def sample(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Skewed values: their bootstrap interval is not symmetric."""
    return np.random.default_rng(seed).exponential(0.1, n)


def plain_bca(values: NDArray[np.float64], draws: int = 40_000) -> tuple[float, float]:
    """The bootstrap interval as Efron writes it, of other draws."""
    n, mean = len(values), values.mean()
    means = np.sort(values[np.random.default_rng(1).integers(0, n, (draws, n))].mean(axis=1))
    bias = stats.norm.ppf(((means < mean).mean() + (means <= mean).mean()) / 2)
    left_out = (values.sum() - values) / (n - 1)
    skew = left_out.mean() - left_out
    acceleration = (skew**3).sum() / (6 * (skew**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(means, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


@given(values=shares(2, 30))
def test_the_mean_and_the_spread_are_those_of_the_definition(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.n == len(values)
    assert summary.mean == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert summary.std**2 * (len(values) - 1) == pytest.approx(sum((value - summary.mean) ** 2 for value in values))


@pytest.mark.parametrize("n", [12, 20, 60])
@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_another_bootstrap(n: int, seed: int) -> None:
    values = sample(n, seed)
    summary = summarise(values.tolist())
    low, high = plain_bca(values)
    error = values.std() / math.sqrt(n)
    assert [summary.low, summary.high] == pytest.approx([low, high], abs=0.2 * error)
    assert summary.high - summary.mean > 1.1 * (summary.mean - summary.low)  # as the values are skewed


@given(values=shares(2, 30))
def test_the_interval_holds_the_mean_and_lies_among_the_values(values: list[float]) -> None:
    summary = summarise(values)
    assert min(values) <= summary.low <= summary.mean <= summary.high <= max(values)
    assert (summary.low < summary.high) == (len(set(values)) > 1)


@given(values=shares(2, 12), shift=st.integers(-4, 4), power=st.integers(-4, 4))
def test_the_interval_moves_and_stretches_with_the_values(values: list[float], shift: int, power: int) -> None:
    summary, moved = summarise(values), summarise([shift + 2.0**power * value for value in values])
    expected = [shift + 2.0**power * end for end in (summary.low, summary.mean, summary.high)]
    assert [moved.low, moved.mean, moved.high] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("values", [[1, 2, 4], [1, 2, 4, 7], [11, 12, 14, 17, 19]])
def test_the_interval_does_not_depend_on_the_last_bits_of_the_values(values: list[float]) -> None:
    whole, tenths = summarise(values), summarise([value / 10 for value in values])
    assert [10 * tenths.low, 10 * tenths.high] == pytest.approx([whole.low, whole.high])


def test_the_interval_shrinks_with_the_root_of_the_number_of_values() -> None:
    few = sample(20).tolist()
    widths = [summary.high - summary.low for summary in (summarise(few), summarise(few * 4), summarise(few * 16))]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.15)


def test_the_interval_of_twenty_values_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    for values_SR in (rng.normal(0.1, 0.02, (300, 20)), rng.binomial(1000, 0.1, (300, 20)) / 1000):
        summaries = [summarise(values_R.tolist()) for values_R in values_SR]
        held = np.mean([summary.low <= 0.1 <= summary.high for summary in summaries])
        assert 0.88 <= held < 0.99


def test_the_interval_of_the_same_values_is_the_same_in_every_process() -> None:
    values = sample(10).tolist()
    code = f"from pipeline.reports.statistics import summarise; print(summarise({values!r}))"
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip()]
    assert said == [str(summarise(values))]


@given(values=shares(2, 10), overlap=st.floats(0.0, 1.0))
def test_values_that_share_samples_have_the_interval_of_nadeau_and_bengio(values: list[float], overlap: float) -> None:
    summary, n = summarise(values, overlap=overlap), len(values)
    half = stats.t.ppf(0.975, n - 1) * math.sqrt((1 / n + overlap) * np.var(values, ddof=1))
    assert [summary.low, summary.high] == pytest.approx([summary.mean - half, summary.mean + half], abs=1e-12)
    if overlap == 0 and len(set(values)) > 1:
        low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
        assert [summary.low, summary.high] == pytest.approx([low, high], abs=1e-12)


def test_the_interval_of_five_folds_is_corrected_by_a_table_of_t() -> None:
    summary = summarise([0.1, 0.2, 0.3, 0.4, 0.5], overlap=1 / 4)
    assert summary.high - summary.mean == pytest.approx(2.7764451051977987 * math.sqrt((1 / 5 + 1 / 4) * 0.025))


@pytest.mark.parametrize("overlap", [None, 0.25])
def test_equal_values_have_no_spread(overlap: float | None) -> None:
    summary = summarise([0.25] * 4, overlap=overlap)
    assert (summary.mean, summary.std, summary.low, summary.high) == (0.25, 0, 0.25, 0.25)


@pytest.mark.parametrize("overlap", [None, 0.25])
def test_one_value_has_a_mean_alone(overlap: float | None) -> None:
    summary = summarise([0.25], overlap=overlap)
    assert (summary.n, summary.mean) == (1, 0.25)
    assert all(math.isnan(value) for value in (summary.std, summary.low, summary.high))
    assert (summary.text(), summary.interval()) == ("25.00 %", "-")


def test_nothing_is_known_where_a_value_is_not() -> None:
    summary = summarise([0.25, math.nan, 0.5])
    assert all(math.isnan(value) for value in (summary.mean, summary.std, summary.low, summary.high))


def test_texts_of_shares_are_in_percent() -> None:
    summary = Summary(n=15, mean=0.0989, std=0.01361, low=0.09249, high=0.10531)
    assert summary.text() == "9.89 ± 1.36 %"
    assert summary.interval() == "[9.25, 10.53]"


def test_texts_are_in_the_unit_of_what_was_measured() -> None:
    summary = summarise([3.0, 4.0, 5.0], Unit("mm"))
    assert summary.text() == "4 ± 1 mm"
    assert summarise([3.14159], Unit("mm")).text() == "3.142 mm"
    assert summary.interval() == f"[{summary.low:.4g}, {summary.high:.4g}]"

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.base.seeds import numpy_generator
from pipeline.reports.figures.ranks import critical_differences
from tests.reports.drawn import Drawings, save


def errors(variants: int, rounds: int, step: float = 0.01) -> dict[str, list[float]]:
    """The first has the least on average; neighbours are the less alike the greater the step."""
    noise_VN = numpy_generator(0, "ranks").normal(0, 0.01, (variants, rounds))
    return {f"variant_{n}": list(0.1 + step * n + noise_N) for n, noise_N in enumerate(noise_VN)}


FIGURES: Drawings = {
    "the least": (lambda: critical_differences(errors(3, 2)), []),
    "some": (lambda: critical_differences(errors(8, 15)), []),
    "many": (lambda: critical_differences(errors(38, 5)), []),
    "equal": (lambda: critical_differences({name: [0.1, 0.2] for name in "abc"}), []),
    "never wrong": (lambda: critical_differences({name: [0.0] * 5 for name in "abcd"}), []),
}


@pytest.mark.parametrize("name", FIGURES)
def test_ranks_can_be_drawn_and_say_over_how_many_rounds(name: str) -> None:
    figure = FIGURES[name][0]()
    save(figure)
    label = figure.axes[0].get_xlabel()
    assert label.startswith("mean rank over ")
    assert label.endswith(" rounds (1 is the best)")


def ranked(given: dict[str, list[float]]) -> tuple[dict[str, float], set[tuple[float, float]]]:
    """Each variant's mean rank as its name shows it, and the ranks that bars join."""
    axis = critical_differences(given).axes[0]
    texts = [text.get_text() for text in axis.texts]
    split = [text.replace("(", "").replace(")", "").split() for text in texts]
    ranks = {name: float(rank) for name, rank in (sorted(pair, key=str.isidentifier, reverse=True) for pair in split)}
    bars = [np.asarray(line.get_xydata()) for line in axis.lines]
    return ranks, {(round(bar[0, 0], 1), round(bar[1, 0], 1)) for bar in bars if len(bar) == 2}


def test_less_error_is_a_better_rank() -> None:
    ranks, _ = ranked({"worst": [0.3, 0.3], "best": [0.1, 0.1], "between": [0.2, 0.2], "as_bad": [0.3, 0.3]})
    assert ranks == {"best": 1, "between": 2, "worst": 3.5, "as_bad": 3.5}


def test_bars_join_variants_that_cannot_be_told_apart() -> None:
    apart = errors(3, 40, step=1)
    assert ranked(apart) == ({"variant_0": 1, "variant_1": 2, "variant_2": 3}, set())
    _, bars = ranked({**apart, "twin": apart["variant_1"]})
    assert bars == {(2.5, 2.5)}
    _, bars = ranked(errors(3, 2, step=1))
    assert bars == {(1, 3)}


def test_the_title_has_the_p_of_friedmans_test() -> None:
    given = errors(4, 6)
    expected = stats.friedmanchisquare(*given.values()).pvalue
    assert f"p = {expected:.2g}\n" in critical_differences(given).get_suptitle()
    assert "p = 1\n" in critical_differences({name: [0.1, 0.2] for name in "abc"}).get_suptitle()


def test_friedmans_p_is_that_of_the_formula() -> None:
    given = errors(4, 6)
    rank_NV = np.argsort(np.argsort(np.array(list(given.values())).T, axis=1), axis=1) + 1
    statistic = 12 * 6 / (4 * 5) * ((rank_NV.mean(axis=0) - 2.5) ** 2).sum()
    assert f"p = {stats.chi2.sf(statistic, 3):.2g}\n" in critical_differences(given).get_suptitle()


@pytest.mark.parametrize(("variants", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (8, 3.031)])
@pytest.mark.parametrize("step", [0.002, 0.005, 0.01])
def test_bars_join_ranks_closer_than_the_critical_difference_of_demsars_table(
    variants: int, q: float, step: float
) -> None:
    rounds = 19  # whose mean ranks are never halfway between two that are shown
    given = errors(variants, rounds, step)
    rank_V = np.sort((np.argsort(np.argsort(np.array(list(given.values())).T, axis=1), axis=1) + 1).mean(axis=0))
    apart = q * np.sqrt(variants * (variants + 1) / (6 * rounds))
    joined = {(low, max(high for high in rank_V if high - low < apart)) for low in rank_V}
    longest = {
        (round(float(low), 1), round(float(high), 1))
        for low, high in joined
        if low < high and not any(other <= low and high <= end and (other, end) != (low, high) for other, end in joined)
    }
    assert ranked(given)[1] == longest


@pytest.mark.parametrize(("variants", "rounds"), [(2, 5), (3, 1), (0, 0)])
def test_ranks_of_too_few_are_refused(variants: int, rounds: int) -> None:
    with pytest.raises(ValueError, match="at least 3 variants and 2 rounds"):
        critical_differences(errors(variants, rounds))

"""How often verdicts find a difference between variants that are equal, and how often intervals hold the true one.

Axes: C comparison, R round, N test sample.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.base.seeds import numpy_generator
from pipeline.reports.contrasts import Contrast, Verdict, judge
from pipeline.reports.crossed import contributions, crossed_interval

Losses = dict[str, NDArray[np.float64]]
BAND = (0.02, 0.08)
"""Of what 600 comparisons find if they find 5 % in truth: 3.3 standard errors to both sides."""


def losses_of(
    kind: str,
    comparisons: int,
    *,
    shape: tuple[int, int] = (10, 100),
    spread: tuple[float, float] = (0.1, 1.0),
    gap: float = 0.0,
) -> Losses:
    """(R, N) of two variants for each comparison, `a0`, `b0` and so on.

    A score is the sum of what rounds and samples do to both variants, what they do to this one alone, with standard
    deviations `spread`, and noise with a standard deviation of 1 in each cell. The loss is the score (`normal`), or 1
    where the score exceeds 2 (`wrong`: of one in eight), or the square of 1 + score (`squares`). The scores of `a` are
    greater by `gap`.
    """
    rng = numpy_generator(0, "null", kind, comparisons, *shape)
    losses = {}
    for comparison in range(comparisons):
        shared_RN = 0.2 * rng.normal(size=(shape[0], 1)) + rng.normal(size=shape[1])
        for name, shift in (("a", gap), ("b", 0.0)):
            own_RN = spread[0] * rng.normal(size=(shape[0], 1)) + spread[1] * rng.normal(size=shape[1])
            score_RN = shift + shared_RN + own_RN + rng.normal(size=shape)
            loss_RN = {"normal": score_RN, "wrong": score_RN > 2, "squares": np.square(1 + score_RN)}[kind]
            losses[f"{name}{comparison}"] = loss_RN.astype(np.float64)
    return losses


def verdicts_on(losses: Losses, *, root: bool = False) -> tuple[list[Verdict], NDArray[np.float64]]:
    """With the test samples as drawn; and the p-values of a paired t test over rounds alone."""
    errors = {name: (loss_RN.mean(1) ** (0.5 if root else 1)).tolist() for name, loss_RN in losses.items()}
    pairs = [(f"a{each}", f"b{each}") for each in range(len(losses) // 2)]
    contrasts = [Contrast(name=one, family="", weights={one: 1.0, other: -1.0}) for one, other in pairs]
    over_rounds = [stats.ttest_rel(errors[one], errors[other]).pvalue for one, other in pairs]
    added = {name: contributions(loss_RN, root=root) for name, loss_RN in losses.items()}
    return judge(contrasts, errors, losses=added), np.array(over_rounds)


def share_found(verdicts: list[Verdict]) -> float:
    return float(np.mean([verdict.p < 0.05 for verdict in verdicts]))


@pytest.mark.parametrize("kind", ["normal", "wrong", "squares"])
def test_equal_variants_seem_to_differ_in_one_of_twenty_comparisons(kind: str) -> None:
    verdicts, over_rounds = verdicts_on(losses_of(kind, 600), root=kind == "squares")
    assert BAND[0] < share_found(verdicts) < BAND[1]
    assert np.mean(over_rounds < 0.05) > 0.25  # as all rounds have the same test samples
    for verdict in verdicts:
        assert (verdict.p < 0.05) == (not verdict.low <= 0 <= verdict.high)


@pytest.mark.parametrize("root", [False, True])
def test_a_difference_that_is_there_is_found(root: bool) -> None:
    """It is five times the true standard error of differences between scores, sqrt(2 (0.01 / 10 + 1.1 / 100))."""
    kind = "squares" if root else "normal"
    verdicts, _ = verdicts_on(losses_of(kind, 100, gap=0.8), root=root)
    assert share_found(verdicts) > 0.9
    assert all(verdict.mean > 0 for verdict in verdicts if verdict.p < 0.05)


def test_intervals_hold_the_true_difference_nineteen_times_of_twenty() -> None:
    verdicts, _ = verdicts_on(losses_of("normal", 600, gap=0.3))
    held = np.mean([verdict.low <= 0.3 <= verdict.high for verdict in verdicts])
    assert 1 - BAND[1] < held < 1 - BAND[0]


@pytest.mark.parametrize(("kind", "root", "true"), [("normal", False, 0.0), ("squares", True, math.sqrt(4.05))])
def test_intervals_of_one_variant_hold_its_true_error(kind: str, root: bool, true: float) -> None:
    """Of a square of a normal score with mean 1 and variance 0.04 + 1 + 0.01 + 1 + 1, the mean is 4.05."""
    intervals = [crossed_interval(contributions(loss_RN, root=root)) for loss_RN in losses_of(kind, 300).values()]
    held = np.mean([low <= true <= high for low, high in intervals])
    assert 1 - BAND[1] < held < 1 - BAND[0]


def test_the_detectable_difference_is_found_in_four_of_five_comparisons() -> None:
    equal, _ = verdicts_on(losses_of("normal", 100))
    gap = float(np.median([verdict.detectable for verdict in equal]))
    verdicts, _ = verdicts_on(losses_of("normal", 600, gap=gap))
    assert share_found(verdicts) == pytest.approx(0.8, abs=0.06)


def test_more_rounds_do_not_make_up_for_few_test_samples() -> None:
    """A quarter of the samples doubles the error; many rounds leave that of the samples."""
    [wide], [narrow], [many] = (
        verdicts_on(losses_of("normal", 1, shape=shape, spread=(0.0, 1.0)))[0]
        for shape in ((20, 100), (20, 400), (2000, 100))
    )
    widths = [verdict.high - verdict.low for verdict in (wide, narrow, many)]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.2)
    assert widths[2] == pytest.approx(2 * 1.98 * math.sqrt(2 / 100), rel=0.2)


def test_few_rounds_are_a_little_too_sure_of_themselves() -> None:
    """Where rounds and samples count alike, as docs/verdicts.md says."""
    verdicts, _ = verdicts_on(losses_of("normal", 600, shape=(2, 100), spread=(0.3, 0.3)))
    assert 0.05 < share_found(verdicts) < 0.13

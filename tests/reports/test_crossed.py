from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.reports.contrasts import Contrast, Verdict, judge
from pipeline.reports.crossed import contributions, crossed, crossed_interval, reading

DIFFERENCE = Contrast(name="a or b", family="", weights={"a": 1.0, "b": -1.0})


def table(rounds: int, samples: int, *, of_rounds: float = 1.0, of_samples: float = 1.0) -> NDArray[np.float64]:
    """(R, N) positive losses."""
    rng = np.random.default_rng(rounds * 1000 + samples)
    marks_RN = of_rounds * rng.exponential(size=(rounds, 1)) + of_samples * rng.exponential(size=samples)
    losses_RN: NDArray[np.float64] = marks_RN + rng.exponential(size=(rounds, samples))
    return losses_RN


def analysis_of_variance(value_RN: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean squares of rounds, samples and the rest, from sums of all cells as a textbook's table has them."""
    rounds, samples = value_RN.shape
    cells = [[float(value) for value in row] for row in value_RN]
    total = sum(sum(row) for row in cells)
    of_mean = total**2 / (rounds * samples)
    of_all = sum(value**2 for row in cells for value in row) - of_mean
    of_rounds = sum(sum(row) ** 2 for row in cells) / samples - of_mean
    of_samples = sum(sum(column) ** 2 for column in zip(*cells, strict=True)) / rounds - of_mean
    rest = of_all - of_rounds - of_samples
    return of_rounds / (rounds - 1), of_samples / (samples - 1), rest / ((rounds - 1) * (samples - 1))


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (4, 7), (20, 50)])
def test_the_error_is_that_of_the_variance_components(shape: tuple[int, int]) -> None:
    value_RN, (rounds, samples) = table(*shape, of_rounds=3.0, of_samples=3.0), shape
    of_rounds, of_samples, rest = analysis_of_variance(value_RN)
    variance_of_rounds, variance_of_samples = (of_rounds - rest) / samples, (of_samples - rest) / rounds
    assert min(variance_of_rounds, variance_of_samples) > 0
    variance = variance_of_rounds / rounds + variance_of_samples / samples + rest / (rounds * samples)
    terms = [of_rounds**2 / (rounds - 1), of_samples**2 / (samples - 1), rest**2 / (rounds - 1) / (samples - 1)]
    expected = (variance * rounds * samples) ** 2 / sum(terms)
    mean, error, df = crossed(value_RN)
    assert mean == pytest.approx(value_RN.mean())
    assert error == pytest.approx(math.sqrt(variance))
    assert df == pytest.approx(max(expected, min(shape) - 1))


def test_rounds_and_samples_play_the_same_part() -> None:
    value_RN = table(5, 9)
    assert crossed(value_RN) == pytest.approx(crossed(value_RN.T))


def test_what_varies_less_than_by_chance_does_not_make_the_mean_more_certain() -> None:
    value_RN = table(6, 40)
    value_RN -= value_RN.mean(1, keepdims=True)  # the rounds are equal
    samples = stats.sem(value_RN.mean(0))
    assert crossed(value_RN)[1] == pytest.approx(samples)
    value_RN -= value_RN.mean(0)  # the samples as well
    assert crossed(value_RN + np.arange(6)[:, None])[1] == pytest.approx(stats.sem(np.arange(6)))


def test_rounds_that_repeat_each_other_count_once() -> None:
    once_N = table(1, 40)[0]
    mean, error, df = crossed(np.tile(once_N, (5, 1)))
    assert (mean, error, df) == pytest.approx((once_N.mean(), stats.sem(once_N), 39))


def test_a_constant_has_no_error() -> None:
    assert crossed(np.full((3, 4), 0.1))[:2] == pytest.approx((0.1, 0))


@pytest.mark.parametrize("shape", [(1, 12), (12, 1)])
def test_a_single_row_or_column_is_judged_by_a_t_test(shape: tuple[int, int]) -> None:
    value_RN = table(*shape)
    expected = stats.ttest_1samp(value_RN.ravel(), 0.0)
    mean, error, df = crossed(value_RN)
    assert mean / error == pytest.approx(expected.statistic)
    assert df == expected.df
    assert crossed_interval(value_RN) == pytest.approx(tuple(expected.confidence_interval()))


def test_a_single_loss_has_no_interval() -> None:
    assert all(math.isnan(end) for end in crossed_interval([[0.5]]))


def test_contributions_to_a_root_have_each_rounds_error_as_mean() -> None:
    loss_RN = table(4, 30)
    assert contributions(loss_RN, root=True).mean(1) == pytest.approx(np.sqrt(loss_RN.mean(1)))
    assert contributions(loss_RN) is loss_RN
    assert contributions([[0.0, 0.0], [1.0, 7.0]], root=True).tolist() == [[0.0, 0.0], [1.25, 2.75]]


def test_contributions_to_a_root_are_its_derivative() -> None:
    loss_N, step = table(1, 30)[0], 1e-6
    weights_NN = np.full((30, 30), 1 / 30) + step * (np.eye(30) - 1 / 30)
    derivative_N = (np.sqrt(weights_NN @ loss_N) - math.sqrt(loss_N.mean())) / step  # with more weight on each sample
    contribution_N = contributions(loss_N[None], root=True)[0]
    assert contribution_N - contribution_N.mean() == pytest.approx(derivative_N, rel=1e-4, abs=1e-6)


def verdict_on(losses: dict[str, NDArray[np.float64]], *, root: bool = False) -> Verdict:
    errors = {name: (loss_RN.mean(1) ** (0.5 if root else 1)).tolist() for name, loss_RN in losses.items()}
    added = {name: contributions(loss_RN, root=root) for name, loss_RN in losses.items()}
    [verdict] = judge([DIFFERENCE], errors, losses=added)
    return verdict


@pytest.mark.parametrize("root", [False, True])
def test_a_verdict_on_shared_test_samples_is_that_of_the_crossed_differences(root: bool) -> None:
    losses = {"a": table(5, 40), "b": table(5, 41)[:, :40]}
    verdict = verdict_on(losses, root=root)
    each_R = np.subtract(*(loss_RN.mean(1) ** (0.5 if root else 1) for loss_RN in losses.values()))
    mean, error, df = crossed(np.subtract(*(contributions(loss_RN, root=root) for loss_RN in losses.values())))
    assert verdict.n == 5
    assert [verdict.mean, mean] == pytest.approx([each_R.mean()] * 2)
    assert [verdict.low, verdict.high] == pytest.approx(stats.t.interval(0.95, df, mean, error))
    assert verdict.p == pytest.approx(2 * stats.t.cdf(-abs(mean) / error, df))
    assert verdict.effect == pytest.approx(each_R.mean() / each_R.std(ddof=1))
    assert verdict.detectable == pytest.approx(error * (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)))


def test_one_round_is_judged_by_its_test_samples() -> None:
    losses = {"a": table(1, 40), "b": table(1, 41)[:, :40]}
    verdict, expected = verdict_on(losses), stats.ttest_rel(losses["a"][0], losses["b"][0])
    assert (verdict.n, verdict.p) == pytest.approx((1, expected.pvalue))
    assert [verdict.low, verdict.high] == pytest.approx(tuple(expected.confidence_interval()))
    assert math.isnan(verdict.effect)
    alone = verdict_on({name: loss_RN[:, :1] for name, loss_RN in losses.items()})
    assert all(math.isnan(value) for value in (alone.low, alone.high, alone.p, alone.p_holm, alone.detectable))


def test_equal_losses_have_a_p_value_of_one_and_a_constant_difference_of_zero() -> None:
    loss_RN = (table(4, 30) > 2).astype(float)
    assert verdict_on({"a": loss_RN, "b": loss_RN.copy()}).p == 1
    assert verdict_on({"a": loss_RN + 0.1, "b": loss_RN}).p == 0


def test_contrasts_on_shared_test_samples_are_corrected_together() -> None:
    losses = {name: table(5, 40 + place)[:, :40] for place, name in enumerate("abc")}
    errors = {name: loss_RN.mean(1).tolist() for name, loss_RN in losses.items()}
    other = Contrast(name="", family="", weights={"a": 0.5, "b": 0.5, "c": -1.0})
    verdicts = judge([DIFFERENCE, other], errors, losses=losses)
    least, most = sorted(verdict.p for verdict in verdicts)
    assert sorted(verdict.p_holm for verdict in verdicts) == pytest.approx(
        sorted([min(1, 2 * least), max(min(1, 2 * least), most)])
    )


def test_folds_have_no_losses_on_shared_samples() -> None:
    with pytest.raises(ValueError, match=r"overlap 0\.25"):
        judge([DIFFERENCE], {"a": [0.1] * 4, "b": [0.2] * 4}, overlap=0.25, losses={"a": table(4, 5), "b": table(4, 5)})


TRAINING = "the randomness of training (initial weights, order of samples)"


@pytest.mark.parametrize(
    ("shared_test", "all_train", "resampling", "rounds", "losses", "said"),
    [
        (
            *(False, False, "none", 20, False),
            f"cover which training samples were drawn, {TRAINING} and which test samples were drawn.",
        ),
        (
            *(True, False, "none", 20, True),
            f"cover which training samples were drawn, {TRAINING} and which test samples were held out.",
        ),
        (
            *(True, True, "none", 20, True),
            f"cover {TRAINING} and which test samples were held out, but no training set other than this one.",
        ),
        (
            *(True, True, "bootstrap", 20, True),
            f"cover another training set (imitated by drawing again from this one), {TRAINING} and which test samples "
            "were held out.",
        ),
        (
            *(True, True, "none", 20, False),
            f"cover {TRAINING}, but no training set other than this one and no test samples other than these.",
        ),
        (
            *(True, False, "bootstrap", 1, True),
            "cover which test samples were held out, but no training set other than this one and no second run of the "
            "training.",
        ),
    ],
)
def test_a_reading_says_what_intervals_cover(
    shared_test: bool, all_train: bool, resampling: str, rounds: int, losses: bool, said: str
) -> None:
    text = reading(shared_test=shared_test, all_train=all_train, resampling=resampling, rounds=rounds, losses=losses)
    assert text == f"Intervals and p-values {said}"


@pytest.mark.parametrize("shared_test", [False, True])
def test_one_round_without_losses_has_no_interval(shared_test: bool) -> None:
    text = reading(shared_test=shared_test, all_train=True, resampling="none", rounds=1, losses=False)
    assert text.startswith("One round has no interval")

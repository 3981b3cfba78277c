from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pipeline.base.errors import InputError
from pipeline.models.variant import Level, Variant
from pipeline.reports.contrasts import (
    Contrast,
    Verdict,
    corrected_p,
    declared_contrasts,
    holm,
    judge,
    parse_contrasts,
    permutation_p,
)
from pipeline.tasks.digit_pairs.options import FACTOR_TITLES
from pipeline.tasks.registry import variants

FAMILIES: dict[str, list[Variant]] = defaultdict(list)
for variant in variants().values():
    if variant.task == "pairs":
        FAMILIES[variant.family].append(variant)

MLP = FAMILIES["mlp"]
few = settings(max_examples=10)  # each correction of p-values collects garbage in statsmodels, which takes long
DIFFERENCE = Contrast(name="a or b", family="mlp", weights={"a": 1.0, "b": -1.0})


def thousandths(least: int, most: int) -> st.SearchStrategy[list[int]]:
    """Differences between errors of a thousand pairs."""
    return st.lists(st.integers(-20, 20), min_size=least, max_size=most)


def verdict_on(difference_R: Sequence[float], overlap: float = 0.0) -> Verdict:
    """What these differences between two variants say."""
    [verdict] = judge([DIFFERENCE], {"a": difference_R, "b": [0.0] * len(difference_R)}, overlap=overlap)
    return verdict


def normal(n: int, mean: float, seed: int = 0) -> NDArray[np.float64]:
    """Differences with exactly this mean, and a standard deviation of exactly 1."""
    value_R = np.random.default_rng(seed).normal(size=n)
    scaled_R: NDArray[np.float64] = mean + (value_R - value_R.mean()) / value_R.std(ddof=1)
    return scaled_R


@given(wrong_R=thousandths(2, 10), base=st.integers(100, 900))
def test_the_p_value_of_few_rounds_counts_all_flips_of_signs(wrong_R: list[int], base: int) -> None:
    flips = itertools.product((1, -1), repeat=len(wrong_R))
    expected = np.mean([abs(np.dot(signs, wrong_R)) >= abs(sum(wrong_R)) for signs in flips])
    difference_R = np.array([(base + wrong) / 1000 for wrong in wrong_R]) - base / 1000
    assert permutation_p(difference_R) == pytest.approx(expected)


@pytest.mark.parametrize("mean", [0.0, 0.3, 0.5])
def test_the_p_value_of_many_rounds_is_that_of_drawn_flips(mean: float) -> None:
    difference_R = normal(20, mean)
    signs_SR = np.random.default_rng(5).choice((-1, 1), (100_000, 20))
    expected = (np.abs(signs_SR @ difference_R) >= abs(difference_R.sum())).mean()
    assert permutation_p(difference_R) == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 9_999))
    assert permutation_p(difference_R) == permutation_p(difference_R)


@given(wrong_R=thousandths(2, 10))
def test_the_p_value_is_the_same_from_both_sides(wrong_R: list[int]) -> None:
    difference_R = np.array(wrong_R, dtype=float)
    assert permutation_p(difference_R) == pytest.approx(permutation_p(-difference_R))


@few
@given(
    p_values=st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=8),
)
def test_p_values_are_corrected_as_holm_says(p_values: list[float]) -> None:
    corrected = holm(p_values)
    asked = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    most = 0.0
    for done, (p, place) in enumerate(asked):
        most = max(most, min(1.0, (len(asked) - done) * p))
        assert corrected[place] == pytest.approx(most)
        assert corrected[place] >= p
    assert [math.isnan(p) for p in corrected] == [math.isnan(p) for p in p_values]
    assert [corrected[place] for _, place in asked] == sorted(corrected[place] for _, place in asked)


def test_contrasts_that_are_asked_together_are_corrected_together() -> None:
    errors = {"a": normal(12, 0.9).tolist(), "b": [0.0] * 12, "c": normal(12, 0.1, seed=1).tolist()}
    other = Contrast(name="c or b", family="mlp", weights={"c": 1.0, "b": -1.0})
    both = judge([DIFFERENCE, other], errors)
    assert [verdict.p_holm for verdict in both] == pytest.approx(holm([verdict.p for verdict in both]))
    [alone] = judge([DIFFERENCE], errors)
    assert (alone.p, alone.p_holm) == (both[0].p, both[0].p)
    assert both[0].p_holm == pytest.approx(2 * both[0].p)
    assert [verdict.significant for verdict in both] == [True, False]


@pytest.mark.parametrize("n", [5, 20, 60, 73])
def test_the_detectable_difference_is_found_in_four_of_five_cases(n: int) -> None:
    true = verdict_on(normal(n, 0.0).tolist()).detectable
    differences_SR = np.random.default_rng(n).normal(true, 1.0, (4000, n))
    found = stats.ttest_1samp(differences_SR, 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.025)


@few
@given(one=thousandths(3, 12), seed=st.integers(0, 9))
def test_the_interval_is_that_of_a_paired_t_test(one: list[int], seed: int) -> None:
    other = np.random.default_rng(seed).normal(size=len(one))
    expected = stats.ttest_rel(one, other).confidence_interval()
    [verdict] = judge([DIFFERENCE], {"a": one, "b": other.tolist()})
    assert [verdict.low, verdict.high] == pytest.approx([expected.low, expected.high], rel=1e-6, abs=1e-9)
    difference_R = np.array(one) - other
    assert verdict.mean == pytest.approx(difference_R.mean())
    assert verdict.effect == pytest.approx(difference_R.mean() / difference_R.std(ddof=1))
    assert verdict.n == len(one)


@few
@given(wrong_R=thousandths(3, 10).filter(lambda each: len(set(each)) > 1), folds=st.integers(2, 10))
def test_folds_are_judged_as_nadeau_and_bengio_say(wrong_R: list[int], folds: int) -> None:
    overlap, n = 1 / (folds - 1), len(wrong_R)
    verdict, plain = verdict_on(wrong_R, overlap), verdict_on(wrong_R)
    mean, error = np.mean(wrong_R), math.sqrt((1 / n + overlap) * np.var(wrong_R, ddof=1))
    expected = 2 * stats.t.cdf(-abs(mean / error), n - 1)
    assert verdict.p == pytest.approx(expected)
    assert corrected_p(np.array(wrong_R, dtype=float), overlap) == pytest.approx(expected)
    half = stats.t.ppf(0.975, n - 1) * error
    assert [verdict.low, verdict.high] == pytest.approx([mean - half, mean + half])
    assert verdict.detectable == pytest.approx(plain.detectable * math.sqrt(1 + n * overlap))


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_equal_differences_have_no_effect_size(overlap: float) -> None:
    [verdict] = judge([DIFFERENCE], {"a": [0.3, 0.2, 0.4], "b": [0.2, 0.1, 0.3]}, overlap=overlap)
    assert [verdict.mean, verdict.low, verdict.high] == pytest.approx([0.1] * 3)
    assert math.isnan(verdict.effect)
    assert verdict_on([0.0] * 4, overlap).p == 1


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_one_round_says_the_difference_alone(overlap: float) -> None:
    verdict = verdict_on([0.25], overlap)
    assert (verdict.n, verdict.mean, verdict.significant) == (1, 0.25, False)
    unknown = (verdict.low, verdict.high, verdict.p, verdict.p_holm, verdict.effect, verdict.detectable)
    assert all(math.isnan(value) for value in unknown)


@pytest.mark.parametrize("family", FAMILIES)
@given(base=st.integers(0, 500), shared=st.integers(-100, 100), helped=st.integers(-100, 100))
def test_contrasts_of_a_family_recover_effects_that_add_up(family: str, base: int, shared: int, helped: int) -> None:
    errors = {
        each.name: [
            base + shared * bool(each.factors["ws"]) + helped * bool(each.factors["al"]) + round_ for round_ in range(3)
        ]
        for each in FAMILIES[family]
    }
    contrasts = declared_contrasts(FAMILIES[family], FACTOR_TITLES)
    assert all(sum(contrast.weights.values()) == 0 for contrast in contrasts)
    assert {contrast.family for contrast in contrasts} == {family}
    assert {
        contrast.name: [
            sum(weight * errors[name][round_] for name, weight in contrast.weights.items()) for round_ in range(3)
        ]
        for contrast in contrasts
    } == {"weight sharing": [shared] * 3, "auxiliary loss": [helped] * 3, "interaction": [0] * 3}


def test_the_interaction_is_what_both_give_beyond_their_sum() -> None:
    [interaction] = [contrast for contrast in declared_contrasts(MLP, FACTOR_TITLES) if contrast.name == "interaction"]
    errors = {"mlp": 0.4, "mlp_ws": 0.3, "mlp_al": 0.2, "mlp_ws_al": 0.05}
    assert sum(weight * errors[name] for name, weight in interaction.weights.items()) == pytest.approx(-0.05)


@given(some=st.sets(st.sampled_from([each.name for each in MLP])))
def test_incomplete_families_say_what_they_can(some: set[str]) -> None:
    members = [each for each in MLP if each.name in some]
    contrasts = {each.name: each for each in declared_contrasts(members, FACTOR_TITLES)}
    shared = [pair for pair in (("mlp_ws", "mlp"), ("mlp_ws_al", "mlp_al")) if set(pair) <= some]
    helped = [pair for pair in (("mlp_al", "mlp"), ("mlp_ws_al", "mlp_ws")) if set(pair) <= some]
    expected = {"weight sharing": shared, "auxiliary loss": helped, "interaction": shared if len(some) == 4 else []}
    assert {name: set(contrast.weights) for name, contrast in contrasts.items()} == {
        name: {part for pair in pairs for part in pair} for name, pairs in expected.items() if pairs
    }


def test_every_family_of_several_variants_is_asked_about_and_nothing_else() -> None:
    families: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for each in variants().values():
        families[each.family, each.task].append(each)
    several = [members for members in families.values() if len(members) > 1]
    contrasts = declared_contrasts(list(variants().values()))
    assert {contrast.family for contrast in contrasts} == {members[0].family for members in several} >= set(FAMILIES)
    asked = {name for contrast in contrasts for name in contrast.weights}
    assert asked == {each.name for members in several for each in members}
    alone = [members[0] for members in families.values() if len(members) == 1]
    assert alone
    assert declared_contrasts(alone) == []


def of_factors(**factors: Level) -> Variant:
    """A variant that is named by its levels."""
    return replace(MLP[0], name="_".join(map(str, factors.values())), factors=factors)


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        ((1, 2, 12), ["depth 2 or 1", "depth 12 or 1"]),
        (("deep", "shallow", "wide"), ["depth shallow or deep", "depth wide or deep"]),
        ((False, True), ["depth"]),
        ((1, 2), ["depth 2 or 1"]),
        ((1,), []),
    ],
)
def test_every_level_is_compared_with_the_least_one(levels: tuple[Level, ...], names: list[str]) -> None:
    contrasts = declared_contrasts([of_factors(depth=level) for level in levels[::-1]])
    assert [each.name for each in contrasts] == names
    assert [each.weights for each in contrasts] == [{str(level): 1, str(levels[0]): -1} for level in levels[1:]]


def test_effects_are_means_over_all_that_differ_in_one_level_alone() -> None:
    everything = list(itertools.product((1, 2, 3), (False, True), ("a", "b")))
    members = [of_factors(depth=depth, wide=wide, kind=kind) for depth, wide, kind in everything]
    errors = {
        each.name: 100 * depth + 10 * wide + (kind == "b") + 7 * (depth == 3 and wide)
        for each, (depth, wide, kind) in zip(members, everything, strict=True)
    }
    contrasts = declared_contrasts(members, {"kind": "sort"})
    assert {
        each.name: pytest.approx(sum(weight * errors[name] for name, weight in each.weights.items()))
        for each in contrasts
    } == {
        "depth 2 or 1": 100,
        "depth 3 or 1": 203.5,
        "wide": 10 + 7 / 3,
        "sort b or a": 1,
        "interaction of depth 2 or 1 and wide": 0,
        "interaction of depth 3 or 1 and wide": 7,
        "interaction of depth 2 or 1 and sort b or a": 0,
        "interaction of depth 3 or 1 and sort b or a": 0,
        "interaction of wide and sort b or a": 0,
    }
    assert [each.interaction for each in contrasts] == [each.name.startswith("interaction") for each in contrasts]


def test_a_contrast_is_shown_as_a_formula() -> None:
    assert [each.formula for each in declared_contrasts(MLP[:2])] == ["mlp_ws - mlp"]
    formulas = {each.name: each.formula for each in declared_contrasts(MLP, FACTOR_TITLES)}
    assert formulas["weight sharing"] == "(mlp_ws + mlp_ws_al - mlp - mlp_al) / 2"
    assert formulas["auxiliary loss"] == "(mlp_al + mlp_ws_al - mlp - mlp_ws) / 2"
    assert formulas["interaction"] == "mlp_ws_al + mlp - mlp_al - mlp_ws"
    uneven = Contrast(name="", family="", weights={"a": 1.0, "b": -0.5, "c": -0.5})
    assert uneven.formula == "(2 a - b - c) / 2"


def test_contrasts_are_read_as_people_type_them() -> None:
    one, other = parse_contrasts("mlp_ws:mlp, mlp : convnet", variants())
    assert (one.weights, one.family) == ({"mlp_ws": 1.0, "mlp": -1.0}, "mlp")
    assert (other.weights, other.family) == ({"mlp": 1.0, "convnet": -1.0}, "between families")
    assert (one.formula, one.name) == ("mlp_ws - mlp", "mlp_ws or mlp")


@pytest.mark.parametrize("part", ["", "mlp", "mlp:", ":mlp", ":", "mlp:mlp"])
def test_what_is_no_contrast_is_refused_by_name(part: str) -> None:
    with pytest.raises(InputError, match=f"a contrast is two variants as first:second, but got '{part}'"):
        parse_contrasts(f"mlp_ws:mlp,{part}", variants())


@given(text=st.one_of(st.text(), st.text(alphabet="mlp_ws:, ")))
def test_any_other_text_is_read_or_refused(text: str) -> None:
    try:
        contrasts = parse_contrasts(text, variants())
    except InputError:
        return
    assert len(contrasts) == text.count(",") + 1
    assert all(sum(contrast.weights.values()) == 0 for contrast in contrasts)

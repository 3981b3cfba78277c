"""Questions about differences between variants, and what rounds that all of them share say to each.

Axes: R round. In round r every variant sees the same samples, so a contrast is computed within each round, and only its
spread over rounds counts: what makes a round hard for all variants cancels.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.models.variant import Level, Variant
from pipeline.reports.crossed import crossed, half_width
from pipeline.reports.statistics import DECIMALS, RESAMPLES

LEVEL = 0.05
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of the errors of variants, whose weights sum to 0."""

    name: str
    """What is asked: `weight sharing`."""
    family: str
    """Whose variants it is about."""
    weights: Mapping[str, float]
    interaction: bool = False
    """Whether it asks if techniques do more together than each by itself."""

    @property
    def formula(self) -> str:
        """`mlp_ws - mlp`, or of means `(a + b - c - d) / 2`."""
        least = min(abs(weight) for weight in self.weights.values())
        terms = [
            f"{'-' if weight < 0 else '+'} {'' if abs(weight) == least else f'{abs(weight) / least:g} '}{model}"
            for model, weight in sorted(self.weights.items(), key=lambda item: -item[1])
        ]
        text = " ".join(terms).removeprefix("+ ")
        return text if least == 1 else f"({text}) / {1 / least:g}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rounds say to a contrast. Differences are shares; NaN where there are too few rounds."""

    contrast: Contrast
    n: int
    """Rounds."""
    mean: float
    low: float
    high: float
    """95 % confidence interval of the mean (Student's t over rounds, or these and the test samples they share)."""
    p: float
    """Of a permutation test, in which the sign of each round's difference is as likely to be the other one; of folds,
    of the corrected t test; of rounds that share test samples, of the t test of crossed random effects."""
    p_holm: float
    """The same, corrected for the number of contrasts that were asked together (Holm, 1979)."""
    effect: float
    """Cohen's d of paired differences: their mean over their standard deviation."""
    detectable: float
    """The least difference that so many rounds, and shared test samples, would have shown in four of five cases (paired
    t test; of crossed random effects, t of 97.5 % plus t of 80 %, times the standard error, as Bloom, 1995)."""

    @property
    def significant(self) -> bool:
        """Whether it is there, at 5 % over all contrasts asked together."""
        return self.p_holm < LEVEL


def parse_contrasts(text: str, known: Mapping[str, Variant]) -> list[Contrast]:
    """Contrasts as people type them: `a:b,c:d` for a - b and c - d.

    Raises InputError that names the part which is wrong.
    """
    contrasts: dict[tuple[str, str], Contrast] = {}  # one that is named twice is one question
    for part in text.split(","):
        first, colon, second = (piece.strip() for piece in part.partition(":"))
        if not (colon and first and second) or first == second:
            raise InputError(f"a contrast is two variants as first:second, but got {part.strip()!r}")
        families = [known[name].family for name in (first, second) if name in known]
        family = families[0] if len(set(families)) == 1 else "between families"
        weights = {first: 1.0, second: -1.0}
        contrasts[first, second] = Contrast(name=f"{first} or {second}", family=family, weights=weights)
    return list(contrasts.values())


def declared_contrasts(variants: Sequence[Variant], titles: Mapping[str, str] | None = None) -> list[Contrast]:
    """What these variants can say of each family: the effect of every factor, and the interactions of two.

    The effect of a level, against the least level of its factor (off, the least number, or the first by the alphabet),
    is the mean over the variants that differ in it alone; an interaction of two levels is the mean of differences
    between such differences. `titles` says in words what factors are called.
    """
    families: dict[tuple[str, str], list[Variant]] = defaultdict(list)
    for variant in variants:
        families[variant.family, variant.task].append(variant)
    return [contrast for members in families.values() for contrast in _of_family(members, titles or {})]


Cell = tuple[tuple[str, Level], ...]
"""Factor -> level, of one variant."""


def _of_family(members: Sequence[Variant], titles: Mapping[str, str]) -> list[Contrast]:
    cells: dict[Cell, str] = {tuple(variant.factors.items()): variant.name for variant in members}
    seen: dict[str, set[Level]] = defaultdict(set)
    for factor, level in (each for cell in cells for each in cell):
        seen[factor].add(level)
    levels = {factor: sorted(each, key=lambda level: (isinstance(level, str), level)) for factor, each in seen.items()}
    effects = [(factor, each[0], level) for factor, each in levels.items() for level in each[1:]]
    contrasts = []
    for effect in effects:
        if matched := _differing(cells, *effect):
            name = _title(effect, levels, titles)
            weights = _mean_difference([(cells[one], cells[two]) for one, two in matched])
            contrasts.append(Contrast(name=name, family=members[0].family, weights=weights))
    crossed = [(one, two) for one, two in itertools.combinations(effects, 2) if one[0] != two[0]]
    for one, two in crossed:
        weights = _interaction(cells, one, two)
        if weights:
            both = " and ".join(_title(each, levels, titles) for each in (one, two))
            name = "interaction" if len(crossed) == 1 else f"interaction of {both}"
            contrasts.append(Contrast(name=name, family=members[0].family, weights=weights, interaction=True))
    return contrasts


Effect = tuple[str, Level, Level]
"""A factor, the level that is compared with, and the level."""


def _title(effect: Effect, levels: Mapping[str, Sequence[Level]], titles: Mapping[str, str]) -> str:
    """`weight sharing`, or of a factor with more levels `depth 3 or 1`."""
    factor, base, level = effect
    title = titles.get(factor, factor.replace("_", " "))
    return title if len(levels[factor]) == 2 and isinstance(level, bool) else f"{title} {level} or {base}"


def _differing(cells: Mapping[Cell, object], factor: str, base: Level, level: Level) -> list[tuple[Cell, Cell]]:
    """Two and two variants that differ in this alone: (with the level, with the base)."""
    with_base = [cell for cell in cells if (factor, base) in cell]
    both = [(tuple((each, level if each == factor else value) for each, value in cell), cell) for cell in with_base]
    return [(other, cell) for other, cell in both if other in cells]


def _interaction(cells: Mapping[Cell, str], one: Effect, two: Effect) -> dict[str, float]:
    """How much more the first does where the second is there; empty where no four variants say so."""
    factor, base, level = two
    effects = {cell: (cells[other], cells[cell]) for other, cell in _differing(cells, *one)}
    matched = []
    for there, absent in _differing(effects, factor, base, level):
        matched += [effects[there], effects[absent][::-1]]
    return {name: 2 * weight for name, weight in _mean_difference(matched).items()} if matched else {}


def _mean_difference(matched: Sequence[tuple[str, str]]) -> dict[str, float]:
    return {name: sign / len(matched) for two in matched for name, sign in zip(two, (1.0, -1.0), strict=True)}


def judge(
    contrasts: Sequence[Contrast],
    errors: Mapping[str, Sequence[float]],
    *,
    overlap: float = 0.0,
    losses: Mapping[str, NDArray[np.float64]] | None = None,
) -> list[Verdict]:
    """What rounds say to contrasts that are asked together; `errors` has those of each variant, round by round.

    Folds in the place of rounds are not independent, nor may their signs be flipped: for them `overlap` is the number
    of validation samples over that of training samples, and the test is the corrected t test (Nadeau and Bengio, 2003).

    Rounds that all test on the same samples say nothing of other test samples by their spread. For them `losses` has
    the `contributions` of each variant, (R, N), whose mean over samples is the error, and interval, p and detectable
    difference are those of `crossed`; the effect size stays that of rounds. One round has them too, by its samples.
    Raises ValueError where there is an overlap as well, as folds share no validation samples.
    """
    if losses is not None and overlap:
        raise ValueError(f"losses are of rounds that share their test samples, but got folds with overlap {overlap}")
    values = [
        np.sum(
            [weight * np.asarray(errors[name], dtype=float) for name, weight in contrast.weights.items()], axis=0
        ).round(DECIMALS)
        for contrast in contrasts
    ]
    if losses is None:
        certainties = [_over_rounds(difference_R, overlap) for difference_R in values]
    else:
        certainties = [
            _over_test_samples_too(contrast, float(difference_R.mean()), losses)
            for contrast, difference_R in zip(contrasts, values, strict=True)
        ]
    corrected = holm([certainty.p for certainty in certainties])
    return [
        _verdict(contrast, difference_R, certainty, p_holm)
        for contrast, difference_R, certainty, p_holm in zip(contrasts, values, certainties, corrected, strict=True)
    ]


class _Certainty(NamedTuple):
    p: float
    half: float
    """Of the interval's width."""
    detectable: float


def _over_rounds(difference_R: NDArray[np.float64], overlap: float) -> _Certainty:
    n = len(difference_R)
    p = corrected_p(difference_R, overlap) if overlap else permutation_p(difference_R)
    if n < 2:
        return _Certainty(p, math.nan, math.nan)
    std = _std(difference_R)
    half = float(stats.t.ppf(0.975, n - 1)) * std * math.sqrt(1 / n + overlap)
    return _Certainty(p, half, _detectable_effect(n) * std * math.sqrt(1 + n * overlap))


def _over_test_samples_too(contrast: Contrast, mean: float, losses: Mapping[str, NDArray[np.float64]]) -> _Certainty:
    difference_RN = sum(weight * losses[name] for name, weight in contrast.weights.items())
    _, error, df = crossed(difference_RN)
    if df == 0:  # one round, one sample
        return _Certainty(math.nan, math.nan, math.nan)
    detectable = float(stats.t.ppf((1 - LEVEL / 2, POWER), df).sum()) * error
    return _Certainty(_t_p(mean, error, df), half_width(error, df), detectable)


def _verdict(contrast: Contrast, difference_R: NDArray[np.float64], certainty: _Certainty, p_holm: float) -> Verdict:
    n, mean = len(difference_R), float(difference_R.mean())
    std = _std(difference_R) if n > 1 else math.nan
    return Verdict(
        contrast=contrast,
        n=n,
        mean=mean,
        low=mean - certainty.half,
        high=mean + certainty.half,
        p=certainty.p,
        p_holm=p_holm,
        effect=mean / std if std > 0 else math.nan,
        detectable=certainty.detectable,
    )


def _std(difference_R: NDArray[np.float64]) -> float:
    return float(difference_R.std(ddof=1).round(DECIMALS))


def permutation_p(difference_R: NDArray[np.float64]) -> float:
    """The two-sided p-value of a mean of paired differences: exact up to 13 rounds, from 9,999 draws beyond them."""
    if len(difference_R) < 2:
        return math.nan
    tested = stats.permutation_test(
        (difference_R, np.zeros_like(difference_R)),
        lambda mine, its, axis: (mine - its).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=numpy_generator(0, "permutation"),
    )
    return float(tested.pvalue)


def corrected_p(difference_R: NDArray[np.float64], overlap: float) -> float:
    """The two-sided p-value of a mean of paired differences between folds, by the corrected t test."""
    n = len(difference_R)
    if n < 2:
        return math.nan
    error = _std(difference_R) * math.sqrt(1 / n + overlap)
    return _t_p(float(difference_R.mean()), error, n - 1)


def _t_p(mean: float, error: float, df: float) -> float:
    """The two-sided p-value of a mean with this standard error."""
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, df))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values; NaN stays, and does not count as a question."""
    corrected = np.array(p_values, dtype=float)
    asked = np.isfinite(corrected)
    if asked.sum() > 1:  # of one there is nothing to correct
        corrected[asked] = multipletests(corrected[asked], method="holm")[1]
    return [float(p) for p in corrected]


def _detectable_effect(n: int) -> float:
    """The least mean, in standard deviations, that a paired t test of n rounds shows with a power of 80 %."""
    solved = TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER)
    return abs(float(np.asarray(solved).item()))  # it may find the one of the other sign, and in an array

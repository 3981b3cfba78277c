"""Questions about differences between variants, and what rounds that all of them share say to each.

Axes: R round. In round r every variant sees the same pairs, so a contrast is computed within each round, and only its
spread over rounds counts: what makes a round hard for all variants cancels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.models.variant import Variant
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
    """95 % confidence interval of the mean (Student's t over rounds)."""
    p: float
    """Of a permutation test, in which the sign of each round's difference is as likely to be the other one; of folds,
    of the corrected t test."""
    p_holm: float
    """The same, corrected for the number of contrasts that were asked together (Holm, 1979)."""
    effect: float
    """Cohen's d of paired differences: their mean over their standard deviation."""
    detectable: float
    """The least difference that so many rounds would have shown in four of five cases (paired t test)."""

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
        families = [known[name].arch for name in (first, second) if name in known]
        family = families[0] if len(set(families)) == 1 else "between families"
        weights = {first: 1.0, second: -1.0}
        contrasts[first, second] = Contrast(name=f"{first} or {second}", family=family, weights=weights)
    return list(contrasts.values())


def declared_contrasts(variants: Sequence[Variant]) -> list[Contrast]:
    """What these variants can say of each family: weight sharing, auxiliary loss, and their interaction.

    The effect of a technique is the mean over the variants that differ in it alone; the interaction needs all four.
    """
    families: dict[str, dict[tuple[bool, bool], str]] = defaultdict(dict)
    for variant in variants:
        if variant.task == "pairs":
            families[variant.arch][variant.weight_sharing, variant.auxiliary_loss] = variant.name
    contrasts = []
    for family, cells in families.items():
        shared = [
            (cells[True, al], cells[False, al]) for al in (False, True) if {(True, al), (False, al)} <= cells.keys()
        ]
        helped = [
            (cells[ws, True], cells[ws, False]) for ws in (False, True) if {(ws, True), (ws, False)} <= cells.keys()
        ]
        for name, pairs in (("weight sharing", shared), ("auxiliary loss", helped)):
            if pairs:
                contrasts.append(Contrast(name=name, family=family, weights=_mean_difference(pairs)))
        if len(cells) == 4:
            both = _mean_difference(
                [(cells[True, True], cells[False, True]), (cells[False, False], cells[True, False])]
            )
            weights = {name: 2 * weight for name, weight in both.items()}
            contrasts.append(Contrast(name="interaction", family=family, weights=weights))
    return contrasts


def _mean_difference(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    return {name: sign / len(pairs) for pair in pairs for name, sign in zip(pair, (1.0, -1.0), strict=True)}


def judge(
    contrasts: Sequence[Contrast], errors: Mapping[str, Sequence[float]], *, overlap: float = 0.0
) -> list[Verdict]:
    """What rounds say to contrasts that are asked together; `errors` has those of each variant, round by round.

    Folds in the place of rounds are not independent, nor may their signs be flipped: for them `overlap` is the number
    of validation samples over that of training samples, and the test is the corrected t test (Nadeau and Bengio, 2003).
    """
    values = [
        np.sum(
            [weight * np.asarray(errors[name], dtype=float) for name, weight in contrast.weights.items()], axis=0
        ).round(DECIMALS)
        for contrast in contrasts
    ]
    p_values = [corrected_p(each_R, overlap) if overlap else permutation_p(each_R) for each_R in values]
    return [
        _verdict(contrast, difference_R, p, p_holm, overlap)
        for contrast, difference_R, p, p_holm in zip(contrasts, values, p_values, holm(p_values), strict=True)
    ]


def _verdict(contrast: Contrast, difference_R: NDArray[np.float64], p: float, p_holm: float, overlap: float) -> Verdict:
    n, mean = len(difference_R), float(difference_R.mean())
    std = float(difference_R.std(ddof=1).round(DECIMALS)) if n > 1 else math.nan
    half = float(stats.t.ppf(0.975, n - 1)) * std * math.sqrt(1 / n + overlap) if n > 1 else math.nan
    return Verdict(
        contrast=contrast,
        n=n,
        mean=mean,
        low=mean - half,
        high=mean + half,
        p=p,
        p_holm=p_holm,
        effect=mean / std if std > 0 else math.nan,
        detectable=_detectable_effect(n) * std * math.sqrt(1 + n * overlap) if n > 1 else math.nan,
    )


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
    error = float(difference_R.std(ddof=1).round(DECIMALS)) * math.sqrt(1 / n + overlap)
    if error == 0:
        return 1.0 if difference_R.mean() == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference_R.mean()) / error, n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values; NaN stays, and does not count as a question."""
    corrected = np.array(p_values, dtype=float)
    asked = np.isfinite(corrected)
    if asked.any():
        corrected[asked] = multipletests(corrected[asked], method="holm")[1]
    return [float(p) for p in corrected]


def _detectable_effect(n: int) -> float:
    """The least mean, in standard deviations, that a paired t test of n rounds shows with a power of 80 %."""
    return float(TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER))

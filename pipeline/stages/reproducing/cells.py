"""A report's figure beside ours, and what each difference says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from pipeline.models.metrics import SHARE
from pipeline.reports.contrasts import Contrast, Verdict, judge
from pipeline.reports.tables import Table
from pipeline.stages.comparing.tables import probability
from pipeline.stages.reproducing.published import Claim, Figure, PublishedTable
from pipeline.stages.reproducing.runner import Measure, Measured

AGREES, DIFFERS, NO_SPREAD, NOT_COMPARED = "agrees", "differs", "report gives no spread", "not compared"
BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"
"""Verdicts on what a search has found, which is not meant to agree."""
COUNTED = {
    AGREES: "{} agree",
    DIFFERS: "{} differ",
    BETTER: "{} are better than the report's",
    WORSE: "{} are worse",
    NOT_SHOWN: "{} show no difference",
    NO_SPREAD: "{} have no spread in the report",
    NOT_COMPARED: "{} are not compared",
}
NOT_TESTED = "not tested"
"""Of a conclusion on rows that were not measured, or in one round."""
LEVEL = 0.05
"""Share of the cells that agree in truth and are said to differ."""
EXACT = ("parameters", "lr", "batch_size", "alpha")
"""Figures that are either the same or not."""
OF_THE_MACHINE = ("seconds", "seconds_per_epoch")
EXTREMES = ("_min", "_max")
"""Ends of names of figures whose spread nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed figure beside ours."""

    measured: Measured
    name: str
    printed: Figure
    rounds: int
    """Of the report."""

    @property
    def ours(self) -> Measure | None:
        """What we have measured, if we have."""
        return self.measured.figures.get(self.name)

    @property
    def deviation(self) -> float:
        """Our mean less the report's in standard errors of the difference; NaN where they are not known."""
        if self.ours is None or self.printed.std is None or self.name in OF_THE_MACHINE:
            return math.nan
        difference = self.ours.mean - self.printed.mean
        error = math.hypot(self.ours.standard_error, self._printed_error)
        if error == 0:
            return math.copysign(math.inf, difference) if abs(difference) > 0.005 else 0.0
        return difference / error

    @property
    def _printed_error(self) -> float:
        """The standard error of the report's mean."""
        if self.measured.row.draws and self.ours is not None:
            # Its deviation is one of trainings alone; how far a draw of test samples can be off, our rounds tell.
            return self.ours.std / math.sqrt(self.measured.row.draws)
        return (self.printed.std or 0.0) / math.sqrt(self.rounds)

    @property
    def limit(self) -> float:
        """The deviation that chance exceeds in one of twenty cells, by Welch's t test (of draws by Student's)."""
        if self.measured.row.draws and self.ours is not None and self.ours.n > 1:
            return float(stats.t.isf(LEVEL / 2, self.ours.n - 1))
        ours, its = (self.ours.standard_error if self.ours else 0.0) ** 2, self._printed_error**2
        parts = [(ours, (self.ours.n if self.ours else 1) - 1), (its, self.rounds - 1)]
        if any(variance and not freedom for variance, freedom in parts):
            return math.inf  # a spread of a single measurement is none
        uncertain = sum(variance**2 / freedom for variance, freedom in parts if variance)
        return float(stats.t.isf(LEVEL / 2, (ours + its) ** 2 / uncertain)) if uncertain else 0.0

    @property
    def agreement(self) -> str:
        """In words."""
        if self.ours is None or self.name in OF_THE_MACHINE:
            return NOT_COMPARED
        if self.name in EXACT:
            return AGREES if math.isclose(self.ours.mean, self.printed.mean) else DIFFERS
        if self.printed.std is None or self.name.endswith(EXTREMES):
            return NO_SPREAD
        if math.isnan(self.deviation):
            return NOT_COMPARED
        alike = abs(self.deviation) <= self.limit
        if self.measured.row.trials:
            return NOT_SHOWN if alike else BETTER if self.deviation < 0 else WORSE
        return AGREES if alike else DIFFERS

    @property
    def _read_as(self) -> str:
        """What its report calls it: another one can have been meant by it."""
        first, *others = (metric.name for metric in self.measured.row.variant.metrics)
        if self.name in [f"train_{other}" for other in others]:
            return f"train_{first}"
        return self.name.removesuffix("_of_all")

    @property
    def is_about(self) -> tuple[object, ...]:
        """Equal for a figure, in whichever table it stands, and the experiments that try what it can come from."""
        row = self.measured.row.about or self.measured.row
        return row.model, row.hyper.canonical, row.epoch, self._read_as, self.printed.mean


def cells_of(table: PublishedTable, measured: Sequence[Measured]) -> list[Cell]:
    """All figures that a table prints, row by row."""
    return [
        Cell(measured=each, name=name, printed=figure, rounds=each.row.rounds or table.protocol.rounds)
        for each in measured
        for name, figure in each.row.figures.items()
    ]


def cell_table(cells: Sequence[Cell]) -> Table:
    """The report's figure beside ours."""
    return Table(
        ["row", "figure", "report", "variantlab", "difference", "in standard errors", "verdict"],
        [
            [
                cell.measured.row.label,
                cell.name.replace("_", " "),
                _text(cell.printed.mean, cell.printed.std, cell.name),
                "-" if cell.ours is None else _text(cell.ours.mean, cell.ours.std, cell.name),
                "-" if cell.ours is None else f"{cell.ours.mean - cell.printed.mean:+.4g}",
                "-" if math.isnan(cell.deviation) else f"{cell.deviation:+.1f}",
                cell.agreement,
            ]
            for cell in cells
        ],
    )


def counted(cells: Sequence[Cell]) -> str:
    """`12 of 16 figures agree, 4 differ`."""
    count = Counter(cell.agreement for cell in cells)
    parts = [text.format(count[verdict]) for verdict, text in COUNTED.items() if count[verdict]]
    return f"of {len(cells)} figures {', '.join(parts)}" if parts else "the report prints no figures"


def judge_claims(
    claims: Sequence[Claim], measured: Sequence[Measured], overlap: float
) -> list[tuple[Claim, Verdict | None]]:
    """What paired rounds, or folds, say to the conclusions of a report, corrected for their number (Holm)."""
    errors = {each.row.label: each.errors_R for each in measured}
    contrasts = [
        Contrast(name=claim.says, family="", weights=claim.contrast)
        if all(errors[label] for label in claim.contrast)
        else None
        for claim in claims
    ]
    verdicts = iter(judge([contrast for contrast in contrasts if contrast is not None], errors, overlap=overlap))
    return [
        (claim, None if contrast is None else next(verdicts)) for claim, contrast in zip(claims, contrasts, strict=True)
    ]


def claim_table(judged: Sequence[tuple[Claim, Verdict | None]]) -> Table:
    """Each conclusion with the paired difference in test error that it is about, in percentage points."""
    return Table(
        ["the report concludes", "where", "difference", "95 % interval", "p (Holm)", "detectable", "verdict"],
        [[claim.says, claim.where, *_evidence(verdict), outcome(claim, verdict)] for claim, verdict in judged],
    )


def _evidence(verdict: Verdict | None) -> list[str]:
    if verdict is None or verdict.n < 2:
        return ["-"] * 4
    return [
        SHARE.difference(verdict.mean),
        f"[{SHARE.difference(verdict.low)}, {SHARE.difference(verdict.high)}]",
        probability(verdict.p_holm),
        SHARE.number(verdict.detectable),
    ]


def outcome(claim: Claim, verdict: Verdict | None) -> str:
    """Whether a conclusion holds."""
    if verdict is None or verdict.n < 2:
        return NOT_TESTED
    if claim.expected == "equal":
        return "does not hold" if verdict.significant else "not refuted"
    if not verdict.significant:
        return "not shown"
    return "holds" if (verdict.mean < 0) == (claim.expected == "lower") else "the opposite holds"


def _text(mean: float, std: float | None, name: str) -> str:
    if name in EXACT:
        return f"{mean:,.6g}" if name != "parameters" else f"{mean:,.0f}"
    decimals = 3 if name in OF_THE_MACHINE else 2
    return f"{mean:.{decimals}f}" + (f" ± {std:.{decimals}f}" if std is not None and math.isfinite(std) else "")

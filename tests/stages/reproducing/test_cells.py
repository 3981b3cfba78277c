"""What is said of a report's figure and of ours, and of its conclusions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.stages.reproducing.cells import (
    AGREES,
    DIFFERS,
    NO_SPREAD,
    NOT_COMPARED,
    Cell,
    cell_table,
    cells_of,
    claim_table,
    counted,
    judge_claims,
    outcome,
)
from pipeline.stages.reproducing.published import Figure, Protocol, Row
from pipeline.stages.reproducing.runner import Measure
from tests.stages.reproducing.small import claim, measured, table_of

OURS = Measure(mean=10.0, std=3.0, n=9)
"""Known to one point."""
ROUNDS = 16
"""Of the report: figures with a deviation of 4 are known to one point."""
NAN = math.nan
PERCENTS = st.floats(0, 100).map(lambda value: round(value, 2))
SPREADS = st.floats(0.01, 30)


def cell(name: str, report: Figure, ours: Measure | None, rounds: int = ROUNDS) -> Cell:
    return Cell(measured=measured(figures={name: ours} if ours else {}), name=name, printed=report, rounds=rounds)


@pytest.mark.parametrize(
    ("report", "ours", "deviation", "verdict"),
    [
        (Figure(mean=12, std=4), OURS, -2 / math.sqrt(2), AGREES),
        (Figure(mean=8, std=4), OURS, 2 / math.sqrt(2), AGREES),
        (Figure(mean=13, std=4), OURS, -3 / math.sqrt(2), DIFFERS),
        (Figure(mean=6.9, std=4), OURS, 3.1 / math.sqrt(2), DIFFERS),
        (Figure(mean=12.25, std=4), Measure(mean=10, std=1.5, n=4), -1.8, AGREES),  # 2.25 / hypot(1, 3/4)
        # Two folds that share their samples: sqrt(1/2 + 1/2) instead of sqrt(1/2).
        (Figure(mean=15, std=12), Measure(mean=10, std=4, n=2, overlap=0.5), -1.0, AGREES),
        (Figure(mean=0, std=0), Measure(mean=0, std=0, n=9), 0, AGREES),
        (Figure(mean=0.25, std=0), Measure(mean=0.253, std=0, n=9), 0, AGREES),  # less than is printed
        (Figure(mean=0, std=0), Measure(mean=0.25, std=0, n=9), math.inf, DIFFERS),
        (Figure(mean=0.5, std=0), Measure(mean=0.25, std=0, n=9), -math.inf, DIFFERS),
        (Figure(mean=12, std=0), OURS, -2, AGREES),
        (Figure(mean=12), OURS, NAN, NO_SPREAD),
        (Figure(mean=12, std=4), None, NAN, NOT_COMPARED),
        (Figure(mean=12), None, NAN, NOT_COMPARED),
        (Figure(mean=12, std=4), Measure(mean=10), NAN, NOT_COMPARED),
    ],
)
def test_means_agree_within_what_chance_allows(
    report: Figure, ours: Measure | None, deviation: float, verdict: str
) -> None:
    found = cell("test_error", report, ours)
    assert found.deviation == pytest.approx(deviation, nan_ok=True)
    assert found.agreement == verdict


@pytest.mark.parametrize(
    ("name", "report", "ours", "verdict"),
    [
        ("parameters", Figure(mean=171538), Measure(mean=171538), AGREES),
        ("parameters", Figure(mean=42018), Measure(mean=43018), DIFFERS),
        ("lr", Figure(mean=5e-4), Measure(mean=0.0005), AGREES),
        ("lr", Figure(mean=5e-4), Measure(mean=0.00051), DIFFERS),
        ("batch_size", Figure(mean=8), Measure(mean=16), DIFFERS),
        ("alpha", Figure(mean=0.7), Measure(mean=0.1 * 7), AGREES),
        ("alpha", Figure(mean=0.7), None, NOT_COMPARED),
        ("test_error_min", Figure(mean=12), Measure(mean=12), NO_SPREAD),
        ("train_error_max", Figure(mean=12), Measure(mean=1), NO_SPREAD),
        ("train_error_min", Figure(mean=12), None, NOT_COMPARED),
        ("seconds", Figure(mean=8.4, std=0.4), Measure(mean=8.4, std=0.4, n=9), NOT_COMPARED),
        ("seconds_per_epoch", Figure(mean=0.5), Measure(mean=9), NOT_COMPARED),
    ],
)
def test_figures_without_a_spread_are_the_same_or_not_compared(
    name: str, report: Figure, ours: Measure | None, verdict: str
) -> None:
    found = cell(name, report, ours)
    assert found.agreement == verdict
    assert math.isnan(found.deviation)


@given(
    means=st.tuples(PERCENTS, PERCENTS),
    spreads=st.tuples(SPREADS, SPREADS),
    rounds=st.tuples(st.integers(2, 30), st.integers(2, 30)),
)
def test_the_verdict_is_that_of_welchs_test(
    means: tuple[float, float], spreads: tuple[float, float], rounds: tuple[int, int]
) -> None:
    (report, ours), (a, b), (n, m) = means, spreads, rounds
    found = cell("test_error", Figure(mean=report, std=a), Measure(mean=ours, std=b, n=m), rounds=n)
    tested = stats.ttest_ind_from_stats(ours, b, m, report, a, n, equal_var=False)
    assert found.deviation == pytest.approx(tested.statistic)
    assert (found.agreement == AGREES) == (tested.pvalue >= 0.05)


@given(means=st.tuples(PERCENTS, PERCENTS), spreads=st.tuples(SPREADS, SPREADS), n=st.integers(2, 30))
def test_a_mean_on_one_draw_of_test_pairs_agrees_where_our_next_round_would_be(
    means: tuple[float, float], spreads: tuple[float, float], n: int
) -> None:
    (report, ours), (printed, std) = means, spreads
    row = Row(label="Plain", model="mlp", draws=1)
    measure = Measure(mean=ours, std=std, n=n)
    figure = Figure(mean=report, std=printed)
    found = Cell(
        measured=measured(row=row, figures={"test_error": measure}), name="test_error", printed=figure, rounds=n
    )
    low, high = stats.t.interval(0.95, n - 1, loc=ours, scale=std * math.sqrt(1 + 1 / n))
    assert (found.agreement == AGREES) == (low <= report <= high)


@given(report=PERCENTS, ours=PERCENTS, spreads=st.tuples(SPREADS, SPREADS), rounds=st.integers(2, 30))
def test_ours_deviates_from_the_reports_as_the_reports_from_ours(
    report: float, ours: float, spreads: tuple[float, float], rounds: int
) -> None:
    a, b = spreads
    there = cell("test_error", Figure(mean=report, std=a), Measure(mean=ours, std=b, n=rounds), rounds)
    back = cell("test_error", Figure(mean=ours, std=b), Measure(mean=report, std=a, n=rounds), rounds)
    assert there.deviation == pytest.approx(-back.deviation)
    assert there.agreement == back.agreement


@given(error=PERCENTS, ours=PERCENTS, spread=SPREADS)
def test_an_accuracy_deviates_as_the_error_does_the_other_way_round(error: float, ours: float, spread: float) -> None:
    of_error = cell("test_error", Figure(mean=error, std=spread), Measure(mean=ours, std=spread, n=9))
    of_accuracy = cell("test_accuracy", Figure(mean=100 - error, std=spread), Measure(mean=100 - ours, std=spread, n=9))
    assert of_accuracy.deviation == pytest.approx(-of_error.deviation, abs=1e-9)


@given(report=PERCENTS, ours=PERCENTS, spread=SPREADS, more=st.floats(1, 10))
def test_means_that_agree_still_agree_with_more_spread(report: float, ours: float, spread: float, more: float) -> None:
    near, wide = (
        cell("test_error", Figure(mean=report, std=factor * spread), Measure(mean=ours, std=factor * spread, n=9))
        for factor in (1, more)
    )
    assert abs(wide.deviation) <= abs(near.deviation) * (1 + 1e-9)
    assert (near.agreement == AGREES) == (abs(near.deviation) <= near.limit)


def test_a_table_has_a_cell_for_each_printed_figure_with_the_rounds_of_its_report() -> None:
    first = Row(label="Plain", model="mlp", figures={"test_error": Figure(mean=1), "parameters": Figure(mean=2)})
    silent = Row(label="Early", model="mlp")
    last = Row(label="Shared", model="mlp_ws", figures={"lr": Figure(mean=3)}, rounds=10)
    table = table_of(first, silent, last, protocol=Protocol(stage="evaluate", rounds=15))
    cells = cells_of(table, [measured(row=row) for row in table.rows])
    assert [(each.measured.row.label, each.name, each.printed.mean) for each in cells] == [
        ("Plain", "test_error", 1),
        ("Plain", "parameters", 2),
        ("Shared", "lr", 3),
    ]
    assert [each.rounds for each in cells] == [15, 15, 10]


def test_the_reports_figure_stands_beside_ours() -> None:
    cells = [
        cell("test_error", Figure(mean=12, std=4), OURS),
        cell("test_error_min", Figure(mean=12), Measure(mean=12.5)),
        cell("parameters", Figure(mean=171538), Measure(mean=171538)),
        cell("lr", Figure(mean=5e-4), Measure(mean=0.005)),
        cell("seconds", Figure(mean=8.386, std=0.395), Measure(mean=7.5)),
        cell("train_error", Figure(mean=12, std=4), None),
    ]
    assert cell_table(cells).rows == [
        ["Plain", "test error", "12.00 ± 4.00", "10.00 ± 3.00", "-2", "-1.4", AGREES],
        ["Plain", "test error min", "12.00", "12.50", "+0.5", "-", NO_SPREAD],
        ["Plain", "parameters", "171,538", "171,538", "+0", "-", AGREES],
        ["Plain", "lr", "0.0005", "0.005", "+0.0045", "-", DIFFERS],
        ["Plain", "seconds", "8.386 ± 0.395", "7.500", "-0.886", "-", NOT_COMPARED],
        ["Plain", "train error", "12.00 ± 4.00", "-", "-", "-", NOT_COMPARED],
    ]


def test_figures_are_counted_by_verdict() -> None:
    alike, other = cell("lr", Figure(mean=1), Measure(mean=1)), cell("lr", Figure(mean=1), Measure(mean=2))
    least, timed = cell("test_error_min", Figure(mean=1), OURS), cell("seconds", Figure(mean=1), OURS)
    assert counted([]) == "the report prints no figures"
    assert counted([alike, alike, other]) == "of 3 figures 2 agree, 1 differ"
    assert counted([other, least, least]) == "of 3 figures 1 differ, 2 have no spread in the report"
    assert counted([alike, timed]) == "of 2 figures 1 agree, 1 are not compared"


# Test errors of six rounds. Of six differences of one sign the exact test has p = 2 / 2**6 = 0.03125.
PLAIN = [0.20, 0.22, 0.24, 0.26, 0.28, 0.30]
BETTER = [0.10, 0.11, 0.12, 0.13, 0.14, 0.15]
MIXED = [0.21, 0.21, 0.25, 0.25, 0.29, 0.29]
MEASURED = [
    measured("Plain", errors_R=PLAIN),
    measured("Shared", errors_R=BETTER),
    measured("Mixed", errors_R=MIXED),
    measured("Lost"),
    measured("Once", errors_R=[0.1]),
]
ALIKE = {"Mixed": 1.0, "Plain": -1.0}
WORSE = {"Plain": 1.0, "Shared": -1.0}


@pytest.mark.parametrize(
    ("expected", "contrast", "said"),
    [
        ("lower", {}, "holds"),
        ("higher", {}, "the opposite holds"),
        ("equal", {}, "does not hold"),
        ("higher", WORSE, "holds"),
        ("lower", WORSE, "the opposite holds"),
        ("lower", ALIKE, "not shown"),
        ("higher", ALIKE, "not shown"),
        ("equal", ALIKE, "not refuted"),
        ("lower", {"Mixed": 0.5, "Plain": 0.5, "Shared": -1.0}, "the opposite holds"),
        ("equal", {"Lost": 1.0, "Plain": -1.0}, "not tested"),
        ("lower", {"Shared": 1.0, "Lost": -1.0}, "not tested"),
    ],
)
def test_a_conclusion_is_judged_by_differences_within_rounds(
    expected: str, contrast: dict[str, float], said: str
) -> None:
    asked = claim(expected, contrast)
    [(found, verdict)] = judge_claims([asked], MEASURED, overlap=0.0)
    assert outcome(found, verdict) == said


def test_one_round_tests_nothing() -> None:
    [(asked, verdict)] = judge_claims(
        [claim("equal", {"Once": 1, "Other": -1})], [*MEASURED, measured("Other", errors_R=[0.4])], 0
    )
    assert outcome(asked, verdict) == "not tested"
    assert claim_table([(asked, verdict)]).rows == [["Sharing helps.", "Section 4", *["-"] * 4, "not tested"]]


def test_conclusions_are_corrected_for_those_of_their_table_that_are_tested() -> None:
    untested, helps, hurts = claim("lower", {"Shared": 1, "Lost": -1}), claim("lower"), claim("higher", WORSE)
    judged = judge_claims([untested, helps], MEASURED, overlap=0.0)
    assert [outcome(*each) for each in judged] == ["not tested", "holds"]
    judged = judge_claims([helps, untested, hurts], MEASURED, overlap=0.0)
    assert [outcome(*each) for each in judged] == ["not shown", "not tested", "not shown"]
    assert [verdict and verdict.p_holm for _, verdict in judged] == [2 * 0.03125, None, 2 * 0.03125]
    assert [asked for asked, _ in judged] == [helps, untested, hurts]


def test_folds_say_less_than_rounds() -> None:
    # All ten differences are positive, of mean 1 and deviation 1.044: t = 1 / 1.044 / sqrt(1/10 + 1/9) = 2.09, below
    # the 2.262 of 9 degrees of freedom.
    of_folds = [
        measured("Plain", errors_R=[0.0] * 10),
        measured("Shared", errors_R=[0.0001] * 5 + [0.0199] * 5),
    ]
    for overlap, said in ((0.0, "holds"), (1 / 9, "not shown")):
        [judged] = judge_claims([claim("higher")], of_folds, overlap)
        assert outcome(*judged) == said


def test_a_conclusion_stands_with_what_it_rests_on() -> None:
    [row] = claim_table(judge_claims([claim("lower")], MEASURED, overlap=0.0)).rows
    # Differences of -10 to -15 points: mean -12.5, deviation 1.87, and t = 2.571 of 5 degrees of freedom.
    half = 2.571 * math.sqrt(3.5) / math.sqrt(6)
    assert row[:5] == [
        "Sharing helps.",
        "Section 4",
        "-12.50",
        f"[{-12.5 - half:+.2f}, {-12.5 + half:+.2f}]",
        "0.031",
    ]
    assert float(str(row[5])) == pytest.approx(2.72, abs=0.05)  # 1.45 standard deviations
    assert row[6] == "holds"


@pytest.mark.parametrize(("error", "verdict"), [(7.0, "better"), (13.0, "worse"), (10.1, "no difference shown")])
def test_what_a_search_has_found_is_better_or_worse_than_the_report(error: float, verdict: str) -> None:
    row = Row(label="SearchResult", model="mlp", trials=3, figures={"test_error": Figure(mean=10.0, std=1.0)})
    ours = measured(row=row, figures={"test_error": Measure(mean=error, std=1.0, n=10)})
    [found] = cells_of(table_of(row, protocol=Protocol(stage="evaluate", rounds=10)), [ours])
    assert found.agreement == verdict

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.reports.contrasts import permutation_p
from pipeline.reports.statistics import summarise
from pipeline.stages.stage import StageResult
from tests.memory import MemoryTracker
from tests.stages.comparing.made import MLPS, column, compared, errors, evaluated, said_of
from tests.stages.runs import run_of

ERRORS = dict(zip((*MLPS, "convnet", "linear_digits"), errors(0.30, 0.20, 0.26, 0.16, 0.21, 0.12), strict=True))


@pytest.fixture(scope="module")
def tracker() -> MemoryTracker:
    return evaluations()


def evaluations() -> MemoryTracker:
    tracker = MemoryTracker()
    for model, error_R in ERRORS.items():
        digits = [error / 2 for error in error_R] if model in ("mlp_al", "mlp_ws_al", "linear_digits") else []
        evaluated(tracker, model, error_R, digit_error_R=digits)
    return tracker


@pytest.fixture(scope="module")
def result(tracker: MemoryTracker) -> StageResult:
    return compared(tracker)


def test_variants_are_ranked_by_their_mean_test_error(tracker: MemoryTracker, result: StageResult) -> None:
    means = {model: float(np.mean(error_R)) for model, error_R in ERRORS.items()}
    order = sorted(means, key=lambda model: means[model])
    assert column(result, "rank") == {model: rank for rank, model in enumerate(order, start=1)}
    assert [row[1] for row in result.table.rows] == order
    metrics = run_of(tracker, result).metrics
    for rank, model in enumerate(order, start=1):
        assert metrics[f"rank/{model}", 0] == rank
        assert metrics[f"final_test_error/{model}", 0] == pytest.approx(means[model])
    assert column(result, "least") == {model: f"{100 * min(each):.2f} %" for model, each in ERRORS.items()}
    assert set(column(result, "rounds").values()) == {8}


def test_what_is_behind_the_best_is_so_round_by_round(result: StageResult) -> None:
    behind = column(result, "behind the best")
    best = result.table.rows[0][1]
    assert behind.pop(best) == "-"
    for model, text in behind.items():
        difference_R = np.array(ERRORS[model]) - ERRORS[best]
        interval = summarise(difference_R.tolist())
        assert text == f"{100 * difference_R.mean():+.2f} [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def test_the_headline_says_who_is_best_and_by_how_much(tracker: MemoryTracker, result: StageResult) -> None:
    behind = column(result, "behind the best")["mlp_ws_al"]
    best = summarise(ERRORS["linear_digits"]).text()
    p = permutation_p(np.array(ERRORS["mlp_ws_al"]) - ERRORS["linear_digits"])
    assert result.headline == (
        f"linear_digits has the least mean test error, {best}, of 6 variants; mlp_ws_al is next, {behind} points "
        f"behind (p = {p:.3f})"
    )
    close = compared(tracker, models="mlp_ws,convnet").headline
    p = permutation_p(np.array(ERRORS["convnet"]) - ERRORS["mlp_ws"])
    assert close.endswith(f"(p = {p:.3f})")
    assert run_of(tracker, result).description.startswith(result.headline)


def test_digit_errors_stand_where_there_are_any(tracker: MemoryTracker, result: StageResult) -> None:
    shown = column(result, "digit error")
    for model in ("mlp_al", "mlp_ws_al", "linear_digits"):
        assert shown[model] == summarise([error / 2 for error in ERRORS[model]]).text()
    assert {shown[model] for model in ("mlp", "mlp_ws", "convnet")} == {"-"}
    assert "digit error" not in compared(tracker, models="mlp,convnet").table.headers


def test_differences_are_in_the_unit_of_what_was_measured() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "linear_regressor", [60.0, 62.0, 61.0])
    evaluated(tracker, "mlp_regressor", [57.5, 59.5, 58.5])
    result = compared(tracker)
    assert result.headline.startswith("mlp_regressor has the least mean test rmse, 58.5 ± 1, of 2 variants; ")
    assert "linear_regressor is next, +2.5 [2.5, 2.5] behind (p = 0.250)" in result.headline
    assert column(result, "test rmse") == {"mlp_regressor": "58.5 ± 1", "linear_regressor": "61 ± 1"}
    assert column(result, "least") == {"mlp_regressor": "57.5", "linear_regressor": "60"}
    [row] = said_of(result).values()
    assert (row["contrast"], row["difference"]) == ("depth 1 or 0", "-2.5")
    metrics = run_of(tracker, result).metrics
    assert metrics["final_test_rmse/mlp_regressor", 0] == 58.5
    [summary] = tracker.find("summary", model="mlp_regressor")
    assert (summary.metrics["final_test_rmse"], summary.tags["metric"], summary.tags["unit"]) == (58.5, "rmse", "")


def test_the_newest_evaluation_of_each_variant_counts() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", [0.1, 0.2])
    convnet = evaluated(tracker, "convnet", [0.3, 0.2])
    newest = evaluated(tracker, "mlp", [0.4, 0.5])
    failed = evaluated(tracker, "mlp", [0.0, 0.0])
    next(run for run in tracker.runs if run.id == failed).end("FAILED")
    result = compared(tracker)
    assert run_of(tracker, result).tags["evaluate_runs"] == f"{convnet},{newest}"
    assert column(result, "least") == {"convnet": "20.00 %", "mlp": "40.00 %"}


def test_some_may_be_chosen_by_name(tracker: MemoryTracker) -> None:
    assert set(column(compared(tracker, models="mlp, convnet"), "rank")) == {"mlp", "convnet"}
    with pytest.raises(UnknownNameError, match="unknown model 'mpl'; did you mean mlp"):
        compared(tracker, models="mlp,mpl")
    with pytest.raises(InputError, match="disc_mlp has no finished one here; run evaluate first"):
        compared(tracker, models="mlp,disc_mlp")
    with pytest.raises(InputError, match="this experiment has no finished one; run evaluate first"):
        compared(MemoryTracker())


def test_one_variant_is_best_of_itself(tracker: MemoryTracker) -> None:
    result = compared(tracker, models="mlp")
    assert result.headline == (
        f"mlp has a test error of {summarise(ERRORS['mlp']).text()}; it is the only variant evaluated so far"
    )
    assert (column(result, "behind the best"), result.more) == ({"mlp": "-"}, [])
    assert "error_against_compute.png" not in run_of(tracker, result).figures


def test_a_spread_of_before_does_not_stand_for_one_round() -> None:
    tracker = evaluations()
    compared(tracker)
    for model in ERRORS:
        evaluated(tracker, model, ERRORS[model][:1])
    compared(tracker)
    for summary in tracker.find("summary"):
        spread = [value for name, value in summary.metrics.items() if name.startswith("final_test_error_")]
        assert len(spread) == 3
        assert all(map(math.isnan, spread))
        assert summary.metrics["rounds"] == 1


def test_a_comparison_of_unequal_variants_ranks_no_summary() -> None:
    tracker = evaluations()
    compared(tracker)
    before = {summary.name: summary.metrics["rank"] for summary in tracker.find("summary")}
    evaluated(tracker, "mlp", [0.001] * 3)
    result = compared(tracker, allow_unequal=True)
    assert column(result, "rank")["mlp"] == 1
    assert {summary.name: summary.metrics["rank"] for summary in tracker.find("summary")} == before
    [mlp] = tracker.find("summary", model="mlp")
    assert mlp.metrics["final_test_error"] == pytest.approx(0.001)


def test_what_was_measured_on_other_data_has_a_summary_of_its_own() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ERRORS["mlp"])
    compared(tracker)
    evaluated(tracker, "mlp", ERRORS["mlp_ws"], digest="fedcba0987")
    compared(tracker)
    compared(tracker)
    errors = {run.tags["dataset_digest"]: run.metrics["final_test_error"] for run in tracker.find("summary")}
    assert len(tracker.find("summary")) == 2
    assert errors == pytest.approx({"1234567890": np.mean(ERRORS["mlp"]), "fedcba0987": np.mean(ERRORS["mlp_ws"])})


@pytest.mark.parametrize("models", [("mlp",), ("mlp", "mlp_ws", "convnet")])
def test_one_round_is_ranked_without_intervals_and_tests(models: tuple[str, ...]) -> None:
    tracker = MemoryTracker()
    for number, model in enumerate(models):
        evaluated(tracker, model, [0.1 * (number + 1)])
    result = compared(tracker)
    assert column(result, "rank") == {model: rank for rank, model in enumerate(models, start=1)}
    assert set(column(result, "95 % interval").values()) == {"-"}
    assert "p =" not in result.headline
    if len(models) > 1:
        assert result.headline.endswith("mlp_ws is next with 20.00 %")
        assert column(result, "behind the best") == {"mlp": "-", "mlp_ws": "+10.00 -", "convnet": "+20.00 -"}
    for row in (row for table in result.more for row in table.rows):
        shown = dict(zip(result.more[0].headers, row, strict=True))
        assert {shown[name] for name in ("95 % interval", "p", "p (Holm)", "effect size", "detectable")} == {"-"}
        assert (shown["difference"], shown["verdict"]) == ("+10.00", "not shown")
    for summary in tracker.find("summary"):
        assert not {name for name in summary.metrics if name.startswith("final_test_error_")}

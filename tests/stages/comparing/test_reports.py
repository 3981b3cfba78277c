from __future__ import annotations

import csv

import pytest

from pipeline.reports.statistics import summarise
from pipeline.tasks.digit_pairs.dataset import CLASSES
from pipeline.tasks.registry import get_variant
from pipeline.tracking.port import RunRecord
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.comparing.made import MLPS, compared, errors, evaluated
from tests.stages.runs import config_of, run_of, runs_with

ERRORS = dict(zip(MLPS, errors(0.30, 0.20, 0.26, 0.16), strict=True))
PAIRS = "\n".join(
    ["first digit,second digit,pairs,wrong", *(f"{a},{b},10,{a}" for a in range(CLASSES) for b in range(CLASSES))]
)
PICTURES = {
    "contrasts",
    "test_error",
    "critical_differences",
    "error_against_compute",
    "loss_by_family",
    "error_by_digit_pair",
}


@pytest.fixture
def tracker() -> MemoryTracker:
    tracker = MemoryTracker()
    for model, error_R in ERRORS.items():
        evaluated(tracker, model, error_R, texts={"confusion_by_digit_pair.csv": PAIRS})
    return tracker


def summaries(tracker: MemoryTracker) -> dict[str, RunRecord]:
    """Model -> its summary run."""
    found = tracker.find("summary")
    assert len({record.tags["model"] for record in found}) == len(found)
    return {record.tags["model"]: record for record in found}


def ranks(tracker: MemoryTracker) -> dict[str, float]:
    return {model: record.metrics["rank"] for model, record in summaries(tracker).items()}


def files(run: MemoryRun, suffix: str) -> set[str]:
    """Names of what it keeps in a form."""
    return {name.removesuffix(suffix) for name in (*run.texts, *run.figures) if name.endswith(suffix)}


def test_tables_pictures_and_the_page_are_kept_in_all_their_forms(tracker: MemoryTracker) -> None:
    result = compared(tracker)
    run = run_of(tracker, result)
    for suffix in (".md", ".csv", ".tex"):
        assert files(run, suffix) == {"comparison", "contrasts"}
    for suffix in (".png", ".svg"):
        assert files(run, suffix) == PICTURES
    assert files(run, ".html") == {"report"}
    for name, table in (("comparison", result.table), ("contrasts", result.more[0])):
        header, *rows = csv.reader(run.texts[f"{name}.csv"].splitlines())
        assert header == list(table.headers)
        assert rows == [[str(cell) for cell in row] for row in table.rows]
        assert run.texts[f"{name}.md"] in run.description
    assert run.description == result.description


def test_the_page_has_all_that_is_kept(tracker: MemoryTracker) -> None:
    result = compared(tracker)
    page = run_of(tracker, result).texts["report.html"]
    assert result.headline in page
    assert page.count("data:image/svg+xml;base64,") == len(PICTURES)
    assert page.count("<table") == 2
    for heading in ("In short", "Comparison", "Contrasts", "Mean ranks", "How to read this"):
        assert f"{heading}</h2>" in page
    for row in (row for table in (result.table, *result.more) for row in table.rows):
        assert f">{row[1]}</td>" in page


def test_there_is_one_summary_of_each_variant_with_figures_to_sort_by(tracker: MemoryTracker) -> None:
    runs = {run.tags["model"]: run.id for run in tracker.runs}
    result = compared(tracker)
    found = summaries(tracker)
    assert ranks(tracker) == {"mlp_ws_al": 1, "mlp_ws": 2, "mlp_al": 3, "mlp": 4}
    for model, record in found.items():
        error, variant = summarise(ERRORS[model]), get_variant(model)
        assert dict(record.metrics) == pytest.approx(
            {
                "rank": record.metrics["rank"],
                "final_test_error": error.mean,
                "final_test_error_std": error.std,
                "final_test_error_low": error.low,
                "final_test_error_high": error.high,
                "behind_best": error.mean - summarise(ERRORS["mlp_ws_al"]).mean,
                "seconds_per_epoch": 0.1,
                "parameters": variant.count(variant.preset.structure),
                "rounds": 8,
            }
        )
        assert (record.name, record.status, record.config) == (model, "FINISHED", variant.preset)
        assert (record.tags["evaluate_run"], record.tags["compare_run"]) == (runs[model], result.run_id)
        assert record.params["model"] == model
    for run in runs_with(tracker, "summary"):
        assert run.parent is None
        assert f"rank {ranks(tracker)[run.name]:.0f} of 4" in run.description
        assert f"(memory:{result.run_id})" in run.description


def test_the_next_comparison_brings_the_same_summaries_up_to_date(tracker: MemoryTracker) -> None:
    compared(tracker)
    before = {model: record.id for model, record in summaries(tracker).items()}
    shorter = get_variant("mlp").preset.replaced({"epochs": 3})
    newest = evaluated(tracker, "mlp", [error / 9 for error in ERRORS["mlp"]], config=shorter)
    evaluated(tracker, "convnet", ERRORS["mlp_al"])
    result = compared(tracker)
    after = summaries(tracker)
    assert {model: after[model].id for model in before} == before
    assert set(after) == {*before, "convnet"}
    assert {model: rank for model, rank in ranks(tracker).items() if model not in ("mlp_al", "convnet")} == {
        "mlp": 1,
        "mlp_ws_al": 2,
        "mlp_ws": 3,
    }
    assert (after["mlp"].tags["evaluate_run"], after["mlp"].config) == (newest, shorter)
    assert {record.tags["compare_run"] for record in after.values()} == {result.run_id}
    assert {record.status for record in after.values()} == {"FINISHED"}
    [mlp] = [run for run in runs_with(tracker, "summary") if run.name == "mlp"]
    assert "rank 1 of 5" in mlp.description
    assert config_of(mlp) == shorter

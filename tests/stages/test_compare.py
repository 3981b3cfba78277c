from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.reports.statistics import summarise
from pipeline.stages import compare, evaluate
from pipeline.stages.compare import CompareConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.stage import Setting, StageResult
from pipeline.tracking.memory import MemoryTracker
from tests.stages.runs import Make, run_of, searched
from tests.stages.silent import Silent


def measure(tracker: MemoryTracker, setting: Setting, model: str, rounds: int = 2) -> str:
    """Evaluate a model for a few epochs: the id of the run."""
    config = EvaluateConfig(setting=setting, model=model, rounds=rounds, preset="report", changes="epochs=3")
    return evaluate.run(config, tracker, Silent()).run_id


def compared(tracker: MemoryTracker, models: str = "all") -> StageResult:
    return compare.run(CompareConfig(models=models), tracker, Silent())


def column(result: StageResult, title: str) -> dict[str, object]:
    """Model -> what its row says under a title."""
    place = list(result.table.headers).index(title)
    return {str(row[0]): row[place] for row in result.table.rows}


def test_compare_reads_the_newest_evaluation_of_each_variant(setting: Setting) -> None:
    tracker = MemoryTracker()
    with pytest.raises(InputError, match="run evaluate first"):
        compared(tracker)
    runs = {
        model: measure(tracker, setting, model, rounds) for model, rounds in (("mlp", 1), ("mlp", 2), ("convnet", 2))
    }
    result = compared(tracker)
    run = run_of(tracker, result)
    assert run.tags["evaluate_runs"] == f"{runs['convnet']},{runs['mlp']}"
    assert column(result, "rounds") == {"convnet": 2, "mlp": 2}
    assert set(run.figures) == {"test_error.png", "loss_by_family.png"}
    assert set(run.texts) == {"comparison.md", "comparison.csv"}
    assert result.notes[0].startswith("All were measured in the same rounds")
    errors = {model: np.array(tracker.history(run_id, "round/test_error")) for model, run_id in runs.items()}
    best, other = sorted(errors, key=lambda model: errors[model].mean())
    behind = column(result, "behind the best")
    assert behind[best] == "-"
    assert str(behind[other]).startswith(f"{100 * (errors[other] - errors[best]).mean():+.2f} [")
    assert column(result, "least") == {model: f"{100 * min(each):.2f} %" for model, each in errors.items()}
    assert column(result, "configuration") == {
        "convnet": "lr=0.001 batch_size=100 epochs=3",
        "mlp": "lr=0.001 batch_size=25 epochs=3",
    }
    only = compared(tracker, "mlp")
    assert [row[0] for row in only.table.rows] == ["mlp"]
    with pytest.raises(InputError, match="mlp_ws has no finished one"):
        compared(tracker, "mlp,mlp_ws")


def test_digit_errors_stand_beside_those_of_pairs_where_there_are_any(setting: Setting) -> None:
    tracker = MemoryTracker()
    runs = {model: measure(tracker, setting, model) for model in ("mlp_ws", "mlp_ws_al", "linear_digits")}
    result = compared(tracker)
    shown = column(result, "digit error")
    assert shown["mlp_ws"] == "-"
    for model in ("mlp_ws_al", "linear_digits"):
        assert shown[model] == summarise(tracker.history(runs[model], "round/test_digit_error")).percent()
    assert len({len(row) for row in result.table.rows} | {len(result.table.headers)}) == 1
    assert "digit error" not in compared(tracker, "mlp_ws").table.headers


def test_compare_says_when_variants_were_not_measured_alike(setting: Setting, disc: Setting) -> None:
    tracker = MemoryTracker()
    measure(tracker, setting, "mlp", rounds=1)
    measure(tracker, replace(setting, test_pairs=30), "mlp_ws")
    measure(tracker, replace(disc, pairs=50), "disc_mlp")
    result = compared(tracker)
    for difference in (
        "rounds differ (2: disc_mlp, mlp_ws; 1: mlp)",
        "test_pairs differ (same: disc_mlp, mlp; 30: mlp_ws)",
        " pairs differ (50: disc_mlp; 100: mlp, mlp_ws)",
        "data (digest) differ (",
    ):
        assert [difference in note for note in result.notes].count(True) == 1, difference
    assert set(column(result, "behind the best").values()) == {"-"}


@pytest.fixture(scope="module")
def with_searches(make: Make, setting: Setting) -> MemoryTracker:
    """Two variants that were searched, one that was searched for longer, and one that was not."""
    tracker = MemoryTracker()
    few = replace(setting, pairs=60)
    space = "lr: {type: choice, values: [0.001, 0.002]}\nepochs: {type: choice, values: [2], default: 2}\n"
    for model, n_trials in (("mlp", 1), ("mlp_ws", 1), ("mlp_al", 2)):
        searched(make(space, model=model, n_trials=n_trials), tracker)
        evaluate.run(EvaluateConfig(setting=few, model=model, rounds=2), tracker, Silent())
    measure(tracker, few, "convnet")
    return tracker


UNEQUAL = "Not searched equally, so a part of a difference may be the search: "


@pytest.mark.parametrize(
    ("models", "groups"),
    [
        ("mlp,mlp_ws", ""),
        ("mlp,mlp_ws,mlp_al", "1 trials of tpe: mlp, mlp_ws; 2 trials of tpe: mlp_al."),
        ("mlp,convnet", "none: convnet; 1 trials of tpe: mlp."),
        ("convnet", ""),
    ],
)
def test_compare_says_when_variants_were_not_searched_equally(
    with_searches: MemoryTracker, models: str, groups: str
) -> None:
    result = compared(with_searches, models)
    assert [note for note in result.notes if note.startswith("Not searched")] == [UNEQUAL + groups] * bool(groups)
    assert result.notes[0].startswith("All were measured in the same rounds")


def test_compare_shows_what_was_spent_on_each_search(with_searches: MemoryTracker) -> None:
    shown = column(compared(with_searches), "searched")
    assert shown["convnet"] == "-"
    assert str(shown["mlp"]).startswith("1 trials of tpe, 4 replica-epochs, ")
    assert str(shown["mlp_al"]).startswith("2 trials of tpe, ")

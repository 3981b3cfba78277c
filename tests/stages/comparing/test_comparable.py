from __future__ import annotations

from typing import Any

import pytest

from pipeline.base.errors import InputError
from pipeline.stages import compare
from pipeline.stages.compare import CompareConfig
from tests.memory import MemoryTracker
from tests.stages.comparing.made import MLPS, column, compared, errors, evaluated, said_of
from tests.stages.runs import run_of

SEARCH = {
    "search_sampler": "tpe",
    "search_wanted": "20",
    "search_trials": "20",
    "search_replica_epochs": "800",
    "search_seconds": "12.3",
}
ALIKE, OTHER, THIRD = errors(0.3, 0.2, 0.25)
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "digest": ({"digest": "fedcba0987"}, "data (digest) differ (12345678: mlp; fedcba09: mlp_ws)"),
    "pairs": ({"params": {"pairs": "all"}}, "pairs differ (1000: mlp; all: mlp_ws)"),
    "test_pairs": ({"params": {"test_pairs": 30}}, "test_pairs differ (same: mlp; 30: mlp_ws)"),
    "seed": ({"params": {"seed": 1}}, "seed differ (0: mlp; 1: mlp_ws)"),
    "search": ({"params": SEARCH}, "search budgets differ (none: mlp; 20 trials of tpe: mlp_ws)"),
}
other_measure = pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)


def unlike(change: dict[str, Any]) -> MemoryTracker:
    """Two variants of which the second was evaluated otherwise."""
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ALIKE)
    evaluated(tracker, "mlp_ws", OTHER, **change)
    return tracker


def refusal(tracker: MemoryTracker, **options: Any) -> str:
    """Why these are not compared; nothing was logged then."""
    before = len(tracker.runs)
    with pytest.raises(InputError) as refused:
        compared(tracker, **options)
    assert len(tracker.runs) == before
    return str(refused.value)


@other_measure
def test_what_was_not_measured_or_searched_alike_is_refused(change: dict[str, Any], reason: str) -> None:
    tracker = unlike(change)
    message = refusal(tracker)
    assert message.startswith(f"variants are ranked when they were measured and searched alike, but {reason};")
    assert message.endswith("rank them all the same with --allow-unequal")
    assert message.count(" differ (") == 1
    with pytest.raises(InputError, match="--allow-unequal"):
        compare.plan(CompareConfig(), tracker)
    assert column(compared(tracker, models="mlp"), "rank") == {"mlp": 1}


def test_what_was_computed_otherwise_is_compared_and_said() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ALIKE, tags={"cpu_capability": "AVX2", "torch": "2.14.1+cpu"})
    evaluated(tracker, "mlp_al", THIRD)  # by a version that did not say it
    assert not [note for note in compared(tracker).notes if "computed alike" in note]
    evaluated(tracker, "mlp_ws", OTHER, tags={"cpu_capability": "AVX512", "torch": "2.14.1+cpu"})
    [note] = [note for note in compared(tracker).notes if "computed alike" in note]
    for way in ("AVX2 and torch 2.14.1+cpu: mlp", "AVX512 and torch 2.14.1+cpu: mlp_ws"):
        assert way in note


def test_other_numbers_of_rounds_are_refused() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ALIKE)
    evaluated(tracker, "mlp_ws", OTHER[:5])
    assert "but rounds differ (8: mlp; 5: mlp_ws); " in refusal(tracker)
    ranked = compared(tracker, allow_unequal=True)
    assert column(ranked, "rounds") == {"mlp_ws": 5, "mlp": 8}
    assert column(ranked, "behind the best") == {"mlp_ws": "-", "mlp": "-"}


def test_what_is_measured_by_another_metric_is_refused() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ALIKE)
    evaluated(tracker, "mlp_regressor", OTHER)
    assert "but metrics differ (error: mlp; rmse: mlp_regressor); " in refusal(tracker)


def test_all_reasons_are_named_and_of_many_variants_the_first() -> None:
    tracker = MemoryTracker()
    for model in (*MLPS, "convnet"):
        evaluated(tracker, model, ALIKE)
    evaluated(tracker, "convnet_ws", OTHER, digest="fedcba0987", params={"seed": 1})
    message = refusal(tracker)
    for what, mark, other in (("data (digest)", "12345678", "fedcba09"), ("seed", "0", "1")):
        _, group = message.split(f"{what} differ (")
        named, _, rest = group.partition(f"; {other}: convnet_ws)")
        assert named.startswith(f"{mark}: convnet, mlp, ")
        assert named.endswith(" and 1 more")
        assert rest


@other_measure
def test_unlike_variants_are_ranked_with_a_note_where_that_is_wanted(change: dict[str, Any], reason: str) -> None:
    tracker = unlike(change)
    result = compared(tracker, allow_unequal=True)
    assert column(result, "rank") == {"mlp_ws": 1, "mlp": 2}
    assert result.notes[0] == f"Not comparable: {reason}. A difference can come from there."
    assert run_of(tracker, result).params["allow_unequal"] == "true"
    untested = "Not tested, since not measured alike: mlp, weight sharing."
    if "search" in reason:  # the rounds are the same, so that the difference itself is known
        assert untested not in result.notes
        assert set(said_of(result)) == {("mlp", "weight sharing")}
        assert column(result, "behind the best")["mlp"].startswith("+")
    else:
        assert result.notes[1] == untested
        assert result.more == []
        assert set(column(result, "behind the best").values()) == {"-"}
        assert "points behind" not in result.headline


def test_contrasts_between_variants_that_are_alike_are_tested_beside_others() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ALIKE)
    evaluated(tracker, "mlp_ws", OTHER)
    evaluated(tracker, "mlp_al", THIRD, params={"seed": 1})
    result = compared(tracker, allow_unequal=True)
    assert set(said_of(result)) == {("mlp", "weight sharing")}
    assert "Not tested, since not measured alike: mlp, auxiliary loss." in result.notes
    asked = compared(tracker, allow_unequal=True, contrast="mlp:mlp_ws,mlp:mlp_al")
    assert set(said_of(asked)) == {("mlp", "mlp or mlp_ws")}
    assert "Not tested, since not measured alike: mlp, mlp or mlp_al." in asked.notes
    figures = run_of(tracker, result).figures
    assert "contrasts.png" in figures
    assert "critical_differences.png" not in figures


def test_the_plan_names_the_evaluations_that_would_be_read() -> None:
    tracker = MemoryTracker()
    mlp, convnet = (evaluated(tracker, model, ALIKE) for model in ("mlp", "convnet"))
    assert [(work.what, work.done) for work in compare.plan(CompareConfig(), tracker)] == [
        ("compare convnet", f"run {convnet}, 8 rounds"),
        ("compare mlp", f"run {mlp}, 8 rounds"),
    ]
    assert len(tracker.runs) == 2


@other_measure
def test_what_is_unlike_a_given_evaluation_is_left_out_and_named(change: dict[str, Any], reason: str) -> None:
    tracker = unlike(change)
    alike = evaluated(tracker, "convnet", OTHER)
    result = compared(tracker, like=alike)
    assert column(result, "rank") == {"convnet": 1, "mlp": 2}
    assert result.notes[0] == "Left out, since not measured or searched alike: mlp_ws."
    other = next(run.id for run in tracker.runs if run.tags.get("model") == "mlp_ws")
    result = compared(tracker, like=other)
    assert column(result, "rank") == {"mlp_ws": 1}
    assert result.notes[0] == "Left out, since not measured or searched alike: convnet, mlp."
    assert reason not in " ".join(result.notes)


def test_nothing_is_said_to_be_left_out_where_all_are_alike() -> None:
    tracker = MemoryTracker()
    evaluated(tracker, "mlp", ALIKE)
    result = compared(tracker, like=evaluated(tracker, "convnet", OTHER))
    assert len(result.table.rows) == 2
    assert not [note for note in result.notes if note.startswith("Left out")]

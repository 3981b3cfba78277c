from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.reports.contrasts import holm, permutation_p
from pipeline.stages.stage import StageResult
from tests.memory import MemoryTracker
from tests.stages.comparing.made import MLPS, compared, errors, evaluated, said_of

MODELS = (*MLPS, "convnet", "convnet_ws", "linear_digits", "disc_mlp")


@pytest.fixture(scope="module")
def tracker() -> MemoryTracker:
    """All of one family, two of another, and two variants of which nothing is asked."""
    tracker = MemoryTracker()
    for model, error_R in zip(MODELS, errors(0.30, 0.20, 0.29, 0.12, 0.21, 0.21, 0.1, 0.1), strict=True):
        evaluated(tracker, model, error_R)
    return tracker


@pytest.fixture(scope="module")
def result(tracker: MemoryTracker) -> StageResult:
    return compared(tracker)


def differences(tracker: MemoryTracker) -> dict[tuple[str, str], np.ndarray]:
    """(Family, contrast) -> its value in each round, from what the tracker has."""
    of = {
        run.tags["model"]: np.array(tracker.history(run.id, "round/test_error")) for run in tracker.runs[: len(MODELS)]
    }
    plain, ws, al, both = (of[model] for model in MLPS)
    return {
        ("mlp", "weight sharing"): (ws + both - plain - al) / 2,
        ("mlp", "auxiliary loss"): (al + both - plain - ws) / 2,
        ("mlp", "interaction"): (both - al) - (ws - plain),
        ("convnet", "weight sharing"): of["convnet_ws"] - of["convnet"],
    }


def test_each_family_is_asked_what_it_can_answer(tracker: MemoryTracker, result: StageResult) -> None:
    expected, said = differences(tracker), said_of(result)
    assert set(said) == set(expected)
    p_values = [permutation_p(expected[key]) for key in said]
    for (key, row), p, p_holm in zip(said.items(), p_values, holm(p_values), strict=True):
        difference_R = expected[key]
        interval = stats.ttest_1samp(difference_R, 0).confidence_interval()
        assert row["difference"] == f"{100 * difference_R.mean():+.2f}"
        assert row["95 % interval"] == f"[{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
        assert (row["p"], row["p (Holm)"]) == (f"{p:.3f}", f"{p_holm:.3f}")
        assert row["effect size"] == f"{difference_R.mean() / difference_R.std(ddof=1):+.2f}"
        shift = float(row["detectable"]) / 100 / difference_R.std(ddof=1) * math.sqrt(8)
        power = stats.nct.sf(stats.t.ppf(0.975, 7), 7, shift)  # of the other side there is next to nothing
        assert power == pytest.approx(0.8, abs=0.02)


def test_verdicts_are_in_words(result: StageResult) -> None:
    assert {key: row["verdict"] for key, row in said_of(result).items()} == {
        ("mlp", "weight sharing"): "less error",
        ("mlp", "auxiliary loss"): "less error",
        ("mlp", "interaction"): "more together",
        ("convnet", "weight sharing"): "not shown",
    }


def test_contrasts_may_be_chosen(tracker: MemoryTracker) -> None:
    said = said_of(compared(tracker, contrast="mlp:mlp_ws,convnet:mlp"))
    assert {key: row["computed as"] for key, row in said.items()} == {
        ("mlp", "mlp or mlp_ws"): "mlp - mlp_ws",
        ("between families", "convnet or mlp"): "convnet - mlp",
    }
    assert [row["verdict"] for row in said.values()] == ["more error", "less error"]
    assert [row["p (Holm)"] for row in said.values()] == ["0.016", "0.016"]  # twice 2 of 2 ** 8


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"contrast": "mlp:mpl_ws"}, "unknown variant among those compared 'mpl_ws'; did you mean mlp_ws"),
        ({"contrast": "mlp:convnet_al"}, "unknown variant among those compared 'convnet_al'"),
        ({"contrast": "mlp:mlp_ws", "models": "mlp,convnet"}, "unknown variant among those compared 'mlp_ws'"),
    ],
)
def test_contrasts_of_what_is_not_compared_are_refused(
    tracker: MemoryTracker, options: dict[str, str], rule: str
) -> None:
    before = len(tracker.runs)
    with pytest.raises(UnknownNameError, match=rule):
        compared(tracker, **options)
    with pytest.raises(InputError, match="a contrast is two variants as first:second, but got 'mlp'"):
        compared(tracker, contrast="mlp")
    assert len(tracker.runs) == before


def test_nothing_is_asked_of_variants_that_differ_in_two_techniques(tracker: MemoryTracker) -> None:
    assert compared(tracker, models="mlp,mlp_ws_al,convnet").more == []

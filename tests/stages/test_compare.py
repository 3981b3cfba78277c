from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import InputError
from pipeline.stages import evaluate
from pipeline.stages import main as whole
from pipeline.stages.compare import CompareConfig
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.cross_validate import CrossValidateConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.prepare import PrepareConfig
from pipeline.stages.stage import Sampling, StageResult
from pipeline.tasks.digit_pairs.pictures import BY_DIGIT_PAIR, digit_pair_shares
from tests.memory import MemoryTracker
from tests.stages.comparing.made import column, compared, evaluated, said_of
from tests.stages.runs import Make, run_of, searched
from tests.stages.silent import Silent


def measure(tracker: MemoryTracker, sampling: Sampling, model: str, rounds: int = 3) -> str:
    """Evaluate a model for a few epochs: the id of the run."""
    config = EvaluateConfig(sampling=sampling, model=model, rounds=rounds, preset="report", changes="epochs=3")
    return evaluate.run(config, tracker, Silent()).run_id


@pytest.fixture(scope="module")
def measured(sampling: Sampling) -> tuple[MemoryTracker, dict[str, str]]:
    """Real evaluations, and the ids of their runs."""
    tracker = MemoryTracker()
    return tracker, {
        model: measure(tracker, sampling, model) for model in ("convnet", "mlp", "mlp_ws", "linear_digits")
    }


def test_compare_ranks_what_evaluate_measured(measured: tuple[MemoryTracker, dict[str, str]]) -> None:
    tracker, runs = measured
    result = compared(tracker)
    assert run_of(tracker, result).tags["evaluate_runs"].split(",") == sorted(
        runs.values(), key=lambda run_id: np.mean(tracker.history(run_id, "round/test_error"))
    )
    configurations = column(result, "configuration")
    assert configurations["convnet"].startswith("lr=0.001 batch_size=100 epochs=3")
    assert configurations["mlp"].startswith("lr=0.001 batch_size=25 epochs=3")
    mlp, mlp_ws = (np.array(tracker.history(runs[model], "round/test_error")) for model in ("mlp", "mlp_ws"))
    said = said_of(result)
    assert list(said) == [("mlp", "weight sharing")]
    assert said["mlp", "weight sharing"]["difference"] == f"{100 * (mlp_ws - mlp).mean():+.2f}"


def again(tracker: MemoryTracker, run_id: str) -> tuple[MemoryTracker, str]:
    """The same evaluation put down without any training."""
    entry, other = Evaluation(run=tracker.get(run_id), tracker=tracker), MemoryTracker()
    made = evaluated(
        other,
        entry.model,
        entry.test_R,
        train_error_R=entry.rounds("train_error"),
        digit_error_R=entry.rounds("test_digit_error"),
        seconds_per_epoch=entry.run.metrics["seconds_per_epoch"],
        digest=entry.run.tags["dataset_digest"],
        config=entry.hyper,
        params={name: entry.run.params[name] for name in ("pairs", "test_pairs", "seed")},
    )
    return other, made


@pytest.mark.parametrize("model", ["mlp_ws", "linear_digits"])
def test_evaluations_that_tests_make_are_read_as_real_ones(
    measured: tuple[MemoryTracker, dict[str, str]], model: str
) -> None:
    tracker, runs = measured
    other, made = again(tracker, runs[model])
    mine, real = other.runs[0], next(run for run in tracker.runs if run.id == runs[model])
    for name in ("params", "tags", "metrics"):
        assert getattr(mine, name).keys() - {("train_loss", 1)} <= getattr(real, name).keys(), name
    assert {name: mine.params[name] for name in ("model", "rounds", "pairs", "test_pairs", "seed")}.items() <= (
        real.params.items()
    )
    assert mine.tags.items() <= real.tags.items()
    assert (mine.name, mine.status) == (real.name, real.status)
    one, two = compared(tracker, models=model), compared(other, like=made)
    assert (one.table, one.headline, one.notes) == (two.table, two.headline, two.notes)


def test_what_every_round_gave_is_read_back(measured: tuple[MemoryTracker, dict[str, str]]) -> None:
    tracker, runs = measured
    entry = Evaluation(run=tracker.get(runs["mlp"]), tracker=tracker)
    means, spreads = entry.curve("test_error")
    error_ER = entry.by_epoch_ER("error")
    assert error_ER is not None
    assert error_ER.mean(1) == pytest.approx(means, abs=1e-5)
    assert error_ER.std(1, ddof=1) == pytest.approx(spreads, abs=1e-5)
    assert error_ER[-1] == pytest.approx(entry.test_R, abs=1e-6)
    assert entry.by_epoch_ER("digit_error") is None  # mlp names no digits
    text = entry.breakdown(BY_DIGIT_PAIR)
    assert text is not None
    assert entry.breakdown("confusion") is None
    share_KK = digit_pair_shares(text)
    rows = next(run for run in tracker.runs if run.id == runs["mlp"]).texts["confusion_by_digit_pair.csv"].splitlines()
    pairs_KK = np.array([int(row.split(",")[2]) for row in rows[1:]]).reshape(10, 10)
    assert (np.isnan(share_KK) == (pairs_KK == 0)).all()
    assert np.nansum(share_KK * pairs_KK) / pairs_KK.sum() == pytest.approx(np.mean(entry.test_R))


def test_points_and_digits_are_not_compared(sampling: Sampling, disc: Sampling) -> None:
    tracker = MemoryTracker()
    measure(tracker, sampling, "mlp", rounds=1)
    measure(tracker, disc, "disc_mlp", rounds=1)
    with pytest.raises(InputError, match=r"data \(digest\) differ \("):
        compared(tracker)
    result = compared(tracker, allow_unequal=True)
    assert len(result.table.rows) == 2
    assert "error_by_digit_pair.png" not in run_of(tracker, compared(tracker, models="disc_mlp")).figures


@pytest.fixture(scope="module")
def with_searches(make: Make, sampling: Sampling) -> MemoryTracker:
    """Two variants that were searched, one that was searched for longer, and one that was not."""
    tracker = MemoryTracker()
    few = replace(sampling, samples=60)
    space = "lr: {type: choice, values: [0.001, 0.002]}\nepochs: {type: choice, values: [2], default: 2}\n"
    for model, n_trials in (("mlp", 1), ("mlp_ws", 1), ("mlp_al", 2)):
        searched(make(space, model=model, n_trials=n_trials), tracker)
        evaluate.run(EvaluateConfig(sampling=few, model=model, rounds=2), tracker, Silent())
    measure(tracker, few, "convnet", rounds=2)
    return tracker


@pytest.mark.parametrize(
    ("models", "groups"),
    [
        ("mlp,mlp_ws,mlp_al", "1 trials of tpe: mlp, mlp_ws; 2 trials of tpe: mlp_al"),
        ("mlp,convnet", "none: convnet; 1 trials of tpe: mlp"),
    ],
)
def test_variants_that_were_not_searched_equally_are_refused(
    with_searches: MemoryTracker, models: str, groups: str
) -> None:
    reason = f"search budgets differ ({groups})"
    with pytest.raises(InputError) as refused:
        compared(with_searches, models=models)
    assert f"but {reason}; " in str(refused.value)
    result = compared(with_searches, models=models, allow_unequal=True)
    assert result.notes[0] == f"Not comparable: {reason}. A difference can come from there."


@pytest.mark.parametrize("models", ["mlp,mlp_ws", "convnet"])
def test_variants_that_were_searched_equally_are_compared(with_searches: MemoryTracker, models: str) -> None:
    assert not [note for note in compared(with_searches, models=models).notes if note.startswith("Not comparable")]


def test_compare_shows_what_was_spent_on_each_search(with_searches: MemoryTracker) -> None:
    shown = column(compared(with_searches, allow_unequal=True), "searched")
    assert shown["convnet"] == "-"
    assert shown["mlp"].startswith("1 trials of tpe, 4 replica-epochs, ")
    assert shown["mlp_al"].startswith("2 trials of tpe, ")


def test_main_compares_with_what_is_comparable(make: Make, sampling: Sampling) -> None:
    tracker = MemoryTracker()
    few = replace(sampling, samples=60)
    measure(tracker, few, "convnet", rounds=2)
    space = "epochs: {type: choice, values: [2], default: 2}\n"
    shown: list[StageResult] = []
    config = whole.MainConfig(
        prepare=PrepareConfig(sampling=few),
        cross_validate=CrossValidateConfig(sampling=few, model="mlp", grid="epochs=2", folds=2),
        search=make(space, model="mlp", n_trials=1),
        evaluate=EvaluateConfig(sampling=few, model="mlp", rounds=2),
        compare=CompareConfig(),
    )
    whole.run(config, tracker, Silent(), shown.append)
    assert column(shown[-1], "rank") == {"mlp": 1}
    assert shown[-1].notes[0] == "Left out, since not measured or searched alike: convnet."

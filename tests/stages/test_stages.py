from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.data.pairs import gather
from pipeline.errors import InputError, StageError
from pipeline.models.registry import get_variant
from pipeline.models.variant import Hyperparameters
from pipeline.stages import compare, evaluate, prepare, search
from pipeline.stages import main as whole
from pipeline.stages.compare import CompareConfig
from pipeline.stages.cross_validate import CrossValidateConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.prepare import PrepareConfig
from pipeline.stages.replicas import fold_replicas, round_replicas
from pipeline.stages.search import SearchConfig
from pipeline.stages.stage import Setting, StageResult, percent, show_hyper
from pipeline.tracking.memory import MemoryTracker
from pipeline.training.compute import Compute
from tests.stages.runs import run_of, trained_in
from tests.stages.silent import Silent


def test_prepare_logs_digest_balance_and_a_picture(setting: Setting) -> None:
    tracker = MemoryTracker()
    run = run_of(tracker, prepare.run(PrepareConfig(setting=setting), tracker, Silent()))
    assert run.status == "FINISHED"
    assert run.params["digest"] == run.tags["dataset_digest"]
    assert run.metrics["train_digits", 0] == run.metrics["test_digits", 0] == 2500
    assert "train,250,250,250,250,250,250,250,250,250,250,2500" in run.texts["classes.csv"]
    assert set(run.figures) == {"sample_pairs.png"}


def test_rounds_and_folds_are_the_same_pairs_for_every_variant_and_configuration(setting: Setting) -> None:
    pools, _ = prepare.inputs(PrepareConfig(setting=setting))
    slow, fast = Hyperparameters(lr=1e-4, batch_size=10, epochs=9), Hyperparameters(lr=1e-2, batch_size=50, epochs=2)
    for one, other in zip(
        [*round_replicas(pools, setting, slow, rounds=2), *fold_replicas(pools, setting, slow, rounds=2, folds=5)],
        [*round_replicas(pools, setting, fast, rounds=2), *fold_replicas(pools, setting, fast, rounds=2, folds=5)],
        strict=True,
    ):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.held_out, other.held_out)


def test_folds_validate_each_training_pair_of_a_round_once(setting: Setting) -> None:
    pools, _ = prepare.inputs(PrepareConfig(setting=setting))
    preset = get_variant("mlp").preset
    [first_round] = round_replicas(pools, setting, preset, rounds=1)
    folds = fold_replicas(pools, setting, preset, rounds=1, folds=4)
    validated = np.concatenate([replica.held_out for replica in folds])
    assert sorted(map(tuple, validated)) == sorted(map(tuple, first_round.train))


def test_evaluate_logs_what_its_rounds_gave_and_a_model_that_gives_it_again(setting: Setting) -> None:
    tracker = MemoryTracker()
    config = EvaluateConfig(setting=setting, model="mlp_ws", rounds=3, preset="report")
    run = run_of(tracker, evaluate.run(config, tracker, Silent()))
    tests = [run.metrics["round/test_error", number] for number in range(3)]
    trains = [run.metrics["round/train_error", number] for number in range(3)]
    assert run.metrics["final_test_error", 0] == pytest.approx(np.mean(tests))
    assert run.metrics["final_test_error_std", 0] == pytest.approx(np.std(tests, ddof=1))
    assert run.metrics["final_train_error", 0] == pytest.approx(np.mean(trains))
    assert run.metrics["test_error", 25] == pytest.approx(np.mean(tests))
    assert run.metrics["parameters", 0] == 86_920
    counts = np.array([line.split(",") for line in run.texts["confusion_by_digit_pair.csv"].splitlines()[1:]], int)
    assert counts[:, 2].sum() == 3 * setting.pairs
    assert counts[:, 3].sum() == pytest.approx(setting.pairs * sum(tests))
    assert set(run.figures) == {"curves.png", "confusion_by_digit_pair.png"}
    assert trained_in(run) == ["round/0", "round/1", "round/2"]
    assert {name: run.params[name] for name in ("trained_on", "precision", "compile")} == Compute().params

    median = tests.index(sorted(tests)[1])
    [logged] = run.models
    pools = evaluate.inputs(config)[1]
    samples = gather(
        pools.test, round_replicas(pools, setting, get_variant("mlp_ws").preset, rounds=3)[median].held_out
    )
    answers = logged.network(torch.from_numpy(samples.x_NCHW)).argmax(1).numpy()
    assert np.mean(answers != samples.target_N) == pytest.approx(tests[median])


def test_evaluate_takes_the_newest_finished_search_of_the_model_on_these_data(
    setting: Setting, space_file: str, storage: str
) -> None:
    tracker = MemoryTracker()
    config = EvaluateConfig(setting=setting, model="mlp_ws_al", rounds=2)
    with pytest.raises(InputError, match="there is none; run search first"):
        evaluate.run(config, tracker, Silent())
    found = search.run(
        SearchConfig(setting=setting, model="mlp_ws_al", space=space_file, storage=storage, n_trials=2, folds=2),
        tracker,
        Silent(),
    )
    chosen = evaluate.run(config, tracker, Silent())
    record = tracker.get(chosen.run_id)
    assert record.tags["config_from"] == found.run_id
    assert record.config == tracker.get(found.run_id).config
    from_run = evaluate.run(replace(config, from_run=found.run_id, rounds=1), tracker, Silent())
    assert tracker.get(from_run.run_id).config == record.config
    with pytest.raises(InputError, match="one configuration of mlp_al"):
        evaluate.run(replace(config, model="mlp_al", from_run=found.run_id), tracker, Silent())


def test_evaluate_refuses_to_average_over_rounds_that_diverged(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluateConfig(setting=setting, model="mlp", rounds=2, preset="report")
    variant, pools = evaluate.inputs(config)
    broken = replace(pools, train=replace(pools.train, images_NHW=np.full_like(pools.train.images_NHW, np.inf)))
    monkeypatch.setattr(evaluate, "inputs", lambda _: (variant, broken))
    tracker = MemoryTracker()
    with pytest.raises(StageError, match="2 of 2 did not"):
        evaluate.run(config, tracker, Silent())
    assert [run.status for run in tracker.runs] == ["FAILED"]


def test_compare_reads_the_newest_evaluation_of_each_variant(setting: Setting) -> None:
    tracker = MemoryTracker()
    with pytest.raises(InputError, match="run evaluate first"):
        compare.run(CompareConfig(), tracker, Silent())
    runs = {}
    for model, rounds in (("mlp", 1), ("mlp", 2), ("convnet", 2)):
        config = EvaluateConfig(setting=setting, model=model, rounds=rounds, preset="report")
        runs[model] = evaluate.run(config, tracker, Silent()).run_id
    result = compare.run(CompareConfig(), tracker, Silent())
    run = run_of(tracker, result)
    assert run.tags["evaluate_runs"] == f"{runs['convnet']},{runs['mlp']}"
    assert [row[0] for row in result.table.rows] == ["convnet", "mlp"]
    assert [row[4] for row in result.table.rows] == [2, 2]
    assert set(run.figures) == {"test_error.png", "loss_by_family.png"}
    assert set(run.texts) == {"comparison.md", "comparison.csv"}
    assert result.notes[0].startswith("All were measured in the same rounds")
    errors = {model: np.array(tracker.history(run_id, "round/test_error")) for model, run_id in runs.items()}
    best, other = sorted(errors, key=lambda model: errors[model].mean())
    behind = {row[0]: row[7] for row in result.table.rows}
    assert behind[best] == "-"
    assert behind[other].startswith(f"{100 * (errors[other] - errors[best]).mean():+.2f} [")
    only = compare.run(CompareConfig(models="mlp"), tracker, Silent())
    assert [row[0] for row in only.table.rows] == ["mlp"]
    with pytest.raises(InputError, match="mlp_ws has no finished one"):
        compare.run(CompareConfig(models="mlp,mlp_ws"), tracker, Silent())


def test_compare_says_when_variants_were_not_measured_alike(setting: Setting) -> None:
    tracker = MemoryTracker()
    for model, rounds in (("mlp", 1), ("mlp_ws", 2)):
        evaluate.run(EvaluateConfig(setting=setting, model=model, rounds=rounds, preset="report"), tracker, Silent())
    result = compare.run(CompareConfig(), tracker, Silent())
    assert any("rounds differ (mlp 1, mlp_ws 2)" in note for note in result.notes)


def main_config(setting: Setting, storage: str, model: str = "mlp") -> whole.MainConfig:
    return whole.MainConfig(
        prepare=PrepareConfig(setting=setting),
        cross_validate=CrossValidateConfig(setting=setting, model=model, grid="epochs=2", folds=2),
        search=SearchConfig(setting=setting, model=model, storage=storage, n_trials=1, folds=2),
        evaluate=EvaluateConfig(setting=setting, model=model, rounds=2),
        compare=CompareConfig(),
    )


def test_main_runs_every_stage_below_its_own_run(setting: Setting, storage: str) -> None:
    tracker = MemoryTracker()
    shown: list[StageResult] = []
    whole.run(main_config(setting, storage), tracker, Silent(), shown.append)
    root, *others = tracker.runs
    assert root.tags["role"] == "main"
    children = [run.tags["role"] for run in others if run.parent == root.id]
    assert children == ["prepare", "cross_validate", "search", "evaluate", "compare"]
    assert {run.status for run in tracker.runs} == {"FINISHED"}
    assert len(shown) == 5


def test_main_refuses_bad_input_before_any_run(setting: Setting, storage: str) -> None:
    tracker = MemoryTracker()
    config = main_config(setting, storage, model="mlp_x")
    with pytest.raises(InputError, match="unknown model"):
        whole.run(config, tracker, Silent(), lambda _: None)
    assert tracker.runs == []


def test_percent_shows_what_could_not_be_measured_as_a_dash() -> None:
    assert (percent(0.0989), percent(math.nan)) == ("9.89 %", "-")


def test_a_configuration_is_shown_without_its_defaults_and_what_has_no_effect() -> None:
    hyper = Hyperparameters(lr=1e-3, batch_size=25, epochs=4, alpha=0.5, momentum=0.9)
    assert show_hyper(get_variant("mlp_al"), hyper) == "lr=0.001 batch_size=25 epochs=4 alpha=0.5"
    assert show_hyper(get_variant("mlp"), hyper) == "lr=0.001 batch_size=25 epochs=4"
    changed = hyper.having({"optimiser": "sgd", "schedule": "cosine", "weight_decay": 1e-5})
    assert show_hyper(get_variant("mlp"), changed) == (
        "lr=0.001 batch_size=25 epochs=4 optimiser=sgd momentum=0.9 weight_decay=1e-05 schedule=cosine"
    )

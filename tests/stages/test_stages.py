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
from pipeline.stages import compare, cross_validate, evaluate, prepare, search
from pipeline.stages import main as whole
from pipeline.stages.compare import CompareConfig
from pipeline.stages.cross_validate import CrossValidateConfig, parse_grid
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.prepare import PrepareConfig
from pipeline.stages.replicas import fold_replicas, round_replicas
from pipeline.stages.search import SearchConfig
from pipeline.stages.stage import Setting, StageResult
from pipeline.tracking.memory import MemoryRun, MemoryTracker
from tests.stages.silent import Silent


def run_of(tracker: MemoryTracker, result: StageResult) -> MemoryRun:
    return next(run for run in tracker.runs if run.id == result.run_id)


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


def test_one_configuration_is_cross_validated_into_the_stages_own_run(setting: Setting) -> None:
    tracker = MemoryTracker()
    config = CrossValidateConfig(setting=setting, model="convnet_ws", grid="epochs=3", folds=2, rounds=2)
    run = run_of(tracker, cross_validate.run(config, tracker, Silent()))
    assert tracker.runs == [run]
    assert run.params["epochs"] == "3"
    for name in ("train_loss", "train_error", "validation_loss", "validation_error"):
        assert [step for metric, step in sorted(run.metrics) if metric == name] == [1, 2, 3]
    assert run.metrics["cv_validation_error", 0] == pytest.approx(run.metrics["validation_error", 3])
    assert set(run.figures) == {"curves.png"}
    assert {"cross_validation.md", "cross_validation.csv"} == set(run.texts)


def test_a_grid_over_epochs_reads_the_same_figures_as_separate_trainings(setting: Setting) -> None:
    def cells(grid: str) -> dict[str, dict[tuple[str, int], float]]:
        tracker = MemoryTracker()
        config = CrossValidateConfig(setting=setting, model="mlp_al", grid=grid, folds=2)
        result = cross_validate.run(config, tracker, Silent())
        runs = [run for run in tracker.runs if run.tags["role"] == "cell"] or [run_of(tracker, result)]
        return {run.tags["config"]: run.metrics for run in runs}

    together = cells("epochs=1,2,4 lr=1e-3")
    apart = {**cells("epochs=1"), **cells("epochs=2"), **cells("epochs=4")}
    assert together.keys() == apart.keys()
    for config, metrics in together.items():
        assert metrics == pytest.approx(apart[config])


def test_a_cell_that_diverges_is_shown_as_such_and_never_best(setting: Setting) -> None:
    tracker = MemoryTracker()
    config = CrossValidateConfig(setting=setting, model="mlp", grid="lr=1e-3,100 epochs=20 batch_size=10", folds=2)
    pools = cross_validate.inputs(config)[2]
    assert np.isfinite(pools.train.images_NHW).all()
    result = cross_validate.run(config, tracker, Silent())
    record = tracker.get(result.run_id)
    assert record.config is not None
    assert record.config.lr == 1e-3


@pytest.mark.parametrize(
    ("grid", "rule"),
    [
        ("", "it is empty"),
        ("lr", "name=value,value"),
        ("lr=", "name=value,value"),
        ("lrr=1", "did you mean lr"),
        ("lr=a", "lr must be a number, but got 'a'"),
        ("epochs=1.5", "epochs must be a whole number"),
        ("epochs=0", "epochs must be a whole number between 1 and"),
        ("lr=nan", "lr must be greater than 0"),
        ("lr=1 lr=2", "lr stands twice"),
        ("lr=1,1.0", "names some twice"),
        ("alpha=1", "mlp has none"),
        ("epochs=" + ",".join(map(str, range(1, 1500))), "1000 cells at most"),
    ],
)
def test_a_bad_grid_is_refused_with_the_part_that_is_wrong(grid: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        parse_grid(grid, get_variant("mlp"))


def test_a_grid_is_the_product_of_its_values_over_the_preset() -> None:
    cells = parse_grid("lr=1e-3,1e-2 epochs=2,3", get_variant("mlp"))
    assert [(cell.lr, cell.epochs, cell.batch_size) for cell in cells] == [
        (1e-3, 2, 25),
        (1e-3, 3, 25),
        (1e-2, 2, 25),
        (1e-2, 3, 25),
    ]


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
    from pipeline.stages.stage import percent

    assert (percent(0.0989), percent(math.nan)) == ("9.89 %", "-")

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.models.registry import get_variant
from pipeline.models.variant import SCHEDULES
from pipeline.stages import cross_validate
from pipeline.stages.cross_validate import CrossValidateConfig, parse_grid
from pipeline.stages.stage import Setting
from pipeline.tracking.memory import MemoryRun, MemoryTracker
from pipeline.training.compute import Compute
from tests.stages.runs import run_of, runs_with, trained_in
from tests.stages.silent import Silent


def cells_of(setting: Setting, grid: str, **options: Any) -> tuple[MemoryRun, list[MemoryRun]]:
    """The run of a cross validation, and those of its cells (itself, if there is one)."""
    tracker = MemoryTracker()
    config = CrossValidateConfig(setting=setting, **{"model": "mlp_al", "grid": grid, "folds": 2, **options})
    run = run_of(tracker, cross_validate.run(config, tracker, Silent()))
    return run, runs_with(tracker, "cell") or [run]


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
    assert {"cross_validation.md", "cross_validation.csv", "chunks.json"} == set(run.texts)
    assert trained_in(run) == [f"round/{round_}/fold/{fold}" for round_ in (0, 1) for fold in (0, 1)]
    assert {name: run.params[name] for name in ("trained_on", "precision", "compile")} == Compute().params


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_grid_over_epochs_gives_the_same_figures_as_separate_trainings(setting: Setting, schedule: str) -> None:
    same = f"lr=2e-3 schedule={schedule} restart_epochs=3"
    run, together = cells_of(setting, f"{same} epochs=1,2,5")
    assert [cell.params["epochs"] for cell in together] == ["1", "2", "5"]
    # With the cosine over all epochs each cell is a training of its own; otherwise the longest holds the others.
    folds = ["round/0/fold/0", "round/0/fold/1"]
    assert trained_in(run) == sorted(folds * (3 if schedule == "cosine" else 1))
    _, [alone] = cells_of(setting, f"{same} epochs=2")
    assert alone.tags["config"] == together[1].tags["config"]
    assert alone.metrics == pytest.approx(together[1].metrics)
    shared = ["validation_error", "validation_loss", "train_loss"]
    one, other = ([cell.metrics[name, 1] for name in shared] for cell in together[1:])
    assert one == pytest.approx(other)  # all begin with the full learning rate
    one, other = ([cell.metrics[name, 2] for name in shared] for cell in together[1:])
    assert (one == pytest.approx(other)) == (schedule != "cosine")


def test_a_grid_may_vary_names(setting: Setting) -> None:
    run, cells = cells_of(setting, "optimiser=adam,sgd schedule=constant,cosine_restarts epochs=2 momentum=0.9")
    assert [(cell.params["optimiser"], cell.params["schedule"]) for cell in cells] == [
        ("adam", "constant"),
        ("adam", "cosine_restarts"),
        ("sgd", "constant"),
        ("sgd", "cosine_restarts"),
    ]
    assert ["momentum" in cell.params for cell in cells] == [False, False, True, True]
    assert len({cell.metrics["train_loss", 2] for cell in cells}) == 4
    header, *rows = [line.split(",") for line in run.texts["cross_validation.csv"].splitlines()]
    assert header[:7] == ["lr", "batch_size", "epochs", "alpha", "optimiser", "momentum", "schedule"]
    assert [row[4:7] for row in rows] == [
        ["adam", "-", "constant"],
        ["adam", "-", "cosine_restarts"],
        ["sgd", "0.9", "constant"],
        ["sgd", "0.9", "cosine_restarts"],
    ]
    _, [alone] = cells_of(setting, "optimiser=sgd epochs=2 momentum=0.9")
    assert alone.metrics == pytest.approx(cells[2].metrics)


def test_patience_ends_each_training_for_itself(setting: Setting) -> None:
    run, cells = cells_of(setting, "lr=1e-12,2e-3 epochs=3,15", patience=2)
    assert run.params["patience"] == "2"
    short, long, _, learning = cells
    assert [step for name, step in long.metrics if name == "validation_error"] == [1, 2, 3]
    assert short.metrics == long.metrics
    for cell in (long, learning):
        assert all(np.isfinite(cell.metrics[name, 0]) for name in ("cv_validation_error", "cv_train_error"))
        assert set(cell.figures) == {"curves.png"}
    assert long.metrics["cv_validation_error", 0] == pytest.approx(long.metrics["validation_error", 3])
    assert 3 < max(step for name, step in learning.metrics if name == "validation_error") < 15


def test_impatience_is_refused(setting: Setting) -> None:
    with pytest.raises(InputError, match=r"--patience must be 0 \(never stop early\) or more, but got -1"):
        CrossValidateConfig(setting=setting, model="mlp", patience=-1)


def test_precision_and_chunks_are_as_asked_for(setting: Setting) -> None:
    compute = Compute(precision="bfloat16", device="cpu", chunk=1)
    run, [cell] = cells_of(setting, "epochs=3", compute=compute)
    assert (run.params["precision"], run.params["trained_on"]) == ("bfloat16", "cpu")
    assert [len(chunk["replicas"]) for chunk in json.loads(run.texts["chunks.json"])["chunks"]] == [1, 1]
    _, [full] = cells_of(setting, "epochs=3", compute=Compute(device="cpu"))
    assert cell.metrics["train_loss", 3] != full.metrics["train_loss", 3]
    assert cell.metrics["train_loss", 3] == pytest.approx(full.metrics["train_loss", 3], rel=0.05)


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
        ("optimiser=adm", "unknown optimiser 'adm'; did you mean adam"),
        ("schedule=cosine,linear", "unknown schedule 'linear'; choose from: constant"),
        ("optimiser=adam,adam", "names some twice"),
        ("momentum=x", "momentum must be a number, but got 'x'"),
        ("restart_epochs=1.5", "restart_epochs must be a whole number"),
        ("schedule=cosine lr_min=1", "lr_min must be at least 0 and at most 0.001"),
        ("optimizer=adam", "did you mean optimiser"),
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


def test_the_cells_of_a_grid_over_names_are_configurations() -> None:
    cells = parse_grid("optimiser=sgd,rmsprop momentum=0.9 augmentation=crop_flip", get_variant("mlp"))
    preset = get_variant("mlp").preset
    same = preset.having({"momentum": 0.9, "augmentation": "crop_flip"})
    assert cells == [same.having({"optimiser": name}) for name in ("sgd", "rmsprop")]

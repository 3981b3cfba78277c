from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.base.errors import InputError, StageError
from pipeline.models.hyperparameters import SCHEDULES
from pipeline.stages import cross_validate
from pipeline.stages.cross_validate import Cell, CrossValidateConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from pipeline.training.plan import Outcome
from pipeline.tuning.trials import SELECTIONS
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import run_of, runs_with, trained_in
from tests.stages.silent import Silent


def cells_of(sampling: Sampling, grid: str, **options: Any) -> tuple[MemoryRun, list[MemoryRun]]:
    """The run of a cross validation, and those of its cells (itself, if there is one)."""
    tracker = MemoryTracker()
    config = CrossValidateConfig(sampling=sampling, **{"model": "mlp_al", "grid": grid, "folds": 2, **options})
    run = run_of(tracker, cross_validate.run(config, tracker, Silent()))
    return run, runs_with(tracker, "cell") or [run]


def table_of(run: MemoryRun) -> list[list[str]]:
    """The header and the rows of its table."""
    return [*csv.reader(run.texts["cross_validation.csv"].splitlines())]


def measured(run: MemoryRun) -> dict[tuple[str, int], float]:
    """Its metrics without the time that it took, which is never the same."""
    return {key: value for key, value in run.metrics.items() if key[0] not in ("seconds_per_epoch", "mlflow_seconds")}


def outcome_of(held_out_error_E: Sequence[float]) -> Outcome:
    """What a training gave that had these errors."""
    names = ("train_loss", "train_error", "held_out_loss", "held_out_error")
    return Outcome(
        curves={name: list(held_out_error_E) for name in names},
        train_at={len(held_out_error_E): {"error": 0.0}},
        seconds_per_epoch=0.1,
    )


def test_one_configuration_is_cross_validated_into_the_stages_own_run(sampling: Sampling) -> None:
    tracker = MemoryTracker()
    config = CrossValidateConfig(sampling=sampling, model="convnet_ws", grid="epochs=3", folds=2, rounds=2)
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
    assert run.metrics["seconds_per_epoch", 0] > 0


def test_each_cell_keeps_what_every_fold_gave_and_the_interval_of_their_mean(sampling: Sampling) -> None:
    run, cells = cells_of(sampling, "epochs=2,4", folds=4, rounds=2, patience=9)
    header, *rows = table_of(run)
    for cell, row in zip(cells, rows, strict=True):
        assert {name: cell.params[name] for name in ("folds", "rounds", "patience")} == {
            "folds": "4",
            "rounds": "2",
            "patience": "9",
        }
        errors = [cell.metrics["fold/validation_error", number] for number in range(8)]
        assert ("fold/validation_error", 8) not in cell.metrics
        mean, half = np.mean(errors), stats.t.ppf(0.975, 7) * np.std(errors, ddof=1) * math.sqrt(1 / 8 + 1 / 3)
        ends = [cell.metrics[f"cv_validation_error_{end}", 0] for end in ("low", "high")]
        assert cell.metrics["cv_validation_error", 0] == pytest.approx(mean)
        assert ends == pytest.approx([mean - half, mean + half])
        assert row[header.index("95 % interval")] == f"[{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]"
        assert cell.metrics["seconds_per_epoch", 0] > 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_grid_over_epochs_gives_the_same_figures_as_separate_trainings(sampling: Sampling, schedule: str) -> None:
    same = f"lr=2e-3 schedule={schedule} restart_epochs=3"
    run, together = cells_of(sampling, f"{same} epochs=1,2,5")
    assert [cell.params["epochs"] for cell in together] == ["1", "2", "5"]
    # With the cosine over all epochs each cell is a training of its own; otherwise the longest holds the others.
    folds = ["round/0/fold/0", "round/0/fold/1"]
    assert trained_in(run) == sorted(folds * (3 if schedule == "cosine" else 1))
    _, [alone] = cells_of(sampling, f"{same} epochs=2")
    assert alone.tags["config"] == together[1].tags["config"]
    assert measured(alone) == pytest.approx(measured(together[1]))
    shared = ["validation_error", "validation_loss", "train_loss"]
    one, other = ([cell.metrics[name, 1] for name in shared] for cell in together[1:])
    assert one == pytest.approx(other)  # all begin with the full learning rate
    one, other = ([cell.metrics[name, 2] for name in shared] for cell in together[1:])
    assert (one == pytest.approx(other)) == (schedule != "cosine")


def test_a_grid_may_vary_names(sampling: Sampling) -> None:
    run, cells = cells_of(sampling, "optimiser=adam,sgd schedule=constant,cosine_restarts epochs=2 momentum=0.9")
    assert [(cell.params["optimiser"], cell.params["schedule"]) for cell in cells] == [
        ("adam", "constant"),
        ("adam", "cosine_restarts"),
        ("sgd", "constant"),
        ("sgd", "cosine_restarts"),
    ]
    assert ["momentum" in cell.params for cell in cells] == [False, False, True, True]
    assert len({cell.metrics["train_loss", 2] for cell in cells}) == 4
    header, *rows = table_of(run)
    assert header[:7] == ["lr", "batch_size", "epochs", "alpha", "optimiser", "momentum", "schedule"]
    assert [row[4:7] for row in rows] == [
        ["adam", "-", "constant"],
        ["adam", "-", "cosine_restarts"],
        ["sgd", "0.9", "constant"],
        ["sgd", "0.9", "cosine_restarts"],
    ]
    _, [alone] = cells_of(sampling, "optimiser=sgd epochs=2 momentum=0.9")
    assert measured(alone) == pytest.approx(measured(cells[2]))


def test_patience_ends_each_training_for_itself(sampling: Sampling) -> None:
    run, cells = cells_of(sampling, "lr=1e-12,2e-3 epochs=3,15", patience=2)
    assert run.params["patience"] == "2"
    short, long, _, learning = cells
    assert [step for name, step in long.metrics if name == "validation_error"] == [1, 2, 3]
    assert short.metrics == long.metrics
    for cell in (long, learning):
        assert all(np.isfinite(cell.metrics[name, 0]) for name in ("cv_validation_error", "cv_train_error"))
        assert set(cell.figures) == {"curves.png"}
    assert long.metrics["cv_validation_error", 0] == pytest.approx(long.metrics["validation_error", 3])
    assert 3 < max(step for name, step in learning.metrics if name == "validation_error") < 15


def test_impatience_is_refused(sampling: Sampling) -> None:
    with pytest.raises(InputError, match=r"--patience must be 0 \(never stop early\) or more, but got -1"):
        CrossValidateConfig(sampling=sampling, model="mlp", patience=-1)


def test_precision_and_chunks_are_as_asked_for(sampling: Sampling) -> None:
    compute = Compute(precision="bfloat16", device="cpu", chunk=1)
    run, [cell] = cells_of(sampling, "epochs=3", compute=compute)
    assert (run.params["precision"], run.params["trained_on"]) == ("bfloat16", "cpu")
    assert [len(chunk["replicas"]) for chunk in json.loads(run.texts["chunks.json"])["chunks"]] == [1, 1]
    _, [full] = cells_of(sampling, "epochs=3", compute=Compute(device="cpu"))
    assert cell.metrics["train_loss", 3] != full.metrics["train_loss", 3]
    assert cell.metrics["train_loss", 3] == pytest.approx(full.metrics["train_loss", 3], rel=0.05)


def test_a_cell_that_diverges_is_shown_as_such_and_never_best(sampling: Sampling) -> None:
    run, cells = cells_of(sampling, "lr=100,0.01 optimiser=sgd epochs=3")
    assert [cell.status for cell in cells] == ["FAILED", "FINISHED"]
    assert run.tags["config"] == cells[1].tags["config"]
    assert ("cv_validation_error", 0) not in cells[0].metrics
    header, diverged, sound = table_of(run)
    assert len(header) == len(diverged) == len(sound)
    shown = dict(zip(header, diverged, strict=True))
    assert (shown["validation error"], shown["95 % interval"], shown["digit error"]) == ("diverged", "-", "-")
    assert not [name for name, _ in cells[0].metrics if name.startswith("fold/")]


def test_when_every_cell_diverges_the_stage_fails(sampling: Sampling) -> None:
    tracker = MemoryTracker()
    config = CrossValidateConfig(sampling=sampling, model="mlp", grid="lr=100 optimiser=sgd epochs=3", folds=2)
    with pytest.raises(StageError, match="the loss of every configuration became infinite; choose smaller learning"):
        cross_validate.run(config, tracker, Silent())
    assert {run.status for run in tracker.runs} == {"FAILED"}


def test_a_grid_may_vary_the_structure(sampling: Sampling) -> None:
    run, cells = cells_of(sampling, "batch_norm=on,off dropout=0,0.4 epochs=2", model="mlp_ws")
    assert [(cell.params["batch_norm"], cell.params["dropout"]) for cell in cells] == [
        ("true", "0.0"),
        ("true", "0.4"),
        ("false", "0.0"),
        ("false", "0.4"),
    ]
    assert len({cell.metrics["train_loss", 2] for cell in cells}) == 4
    header, *rows = table_of(run)
    columns = header.index("batch_norm"), header.index("dropout")
    assert [[row[column] for column in columns] for row in rows] == [
        ["on", "0"],
        ["on", "0.4"],
        ["off", "0"],
        ["off", "0.4"],
    ]
    chunks = json.loads(run.texts["chunks.json"])["chunks"]
    structures = [(chunk["structure"]["batch_norm"], chunk["structure"]["dropout"]) for chunk in chunks]
    for cell in cells:
        config = json.loads(cell.tags["config"])
        assert (config["batch_norm"], config["dropout"]) in structures
    _, [alone] = cells_of(sampling, "batch_norm=on dropout=0.4 epochs=2", model="mlp_ws")
    assert alone.tags["config"] == cells[1].tags["config"]
    assert measured(alone) == pytest.approx(measured(cells[1]))


def test_a_grid_may_vary_the_augmentation(sampling: Sampling) -> None:
    _, cells = cells_of(sampling, "augmentation=none,crop_flip,rotate epochs=2")
    assert [cell.params["augmentation"] for cell in cells] == ["none", "crop_flip", "rotate"]
    assert len({cell.metrics["train_loss", 2] for cell in cells}) == 3
    _, [plain] = cells_of(sampling, "epochs=2")
    assert measured(plain) == pytest.approx(measured(cells[0]))


@pytest.mark.parametrize("select", SELECTIONS)
def test_the_best_cell_has_the_least_of_what_is_selected(sampling: Sampling, select: str) -> None:
    run, cells = cells_of(replace(sampling, samples=30), "lr=1e-3,3e-3,1e-2 epochs=2,4", folds=3, select=select)
    means = [cell.metrics["cv_validation_error", 0] for cell in cells]
    spreads = [cell.metrics["cv_validation_error_std", 0] for cell in cells]
    scores = {"mean": means, "mean+std": [mean + spread for mean, spread in zip(means, spreads, strict=True)]}[select]
    best = cells[int(np.argmin(np.round(scores, 9)))]
    assert run.params["select"] == select
    assert run.tags["config"] == best.tags["config"]
    assert run.metrics["cv_validation_error", 0] == best.metrics["cv_validation_error", 0]
    assert f"the best of 6 cells by {select}" in run.description


def test_the_steadier_cell_is_best_by_mean_and_deviation_though_its_mean_is_higher() -> None:
    variant = get_variant("mlp")
    hyper = variant.preset.replaced({"epochs": 2})
    unsteady, steady = (
        Cell(variant=variant, hyper=hyper, outcomes=[outcome_of([0.5, error]) for error in errors], folds=2)
        for errors in ([0.0, 0.18], [0.1, 0.1])
    )
    assert unsteady.score("mean") == pytest.approx(0.09)
    assert unsteady.score("mean") < steady.score("mean")
    assert unsteady.score("mean+std") == pytest.approx(0.09 + 0.18 / math.sqrt(2))
    assert unsteady.score("mean+std") > steady.score("mean+std") == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("model", "named"),
    [("mlp", False), ("mlp_ws", False), ("mlp_ws_al", True), ("linear_digits", True), ("disc_mlp", False)],
)
def test_there_is_a_digit_error_where_digits_are_named_and_nowhere_else(
    sampling: Sampling, disc: Sampling, model: str, named: bool
) -> None:
    run, [cell] = cells_of(disc if model == "disc_mlp" else sampling, "epochs=2", model=model)
    curve = [step for name, step in sorted(cell.metrics) if name == "validation_digit_error"]
    assert curve == [1, 2] * named
    assert (("cv_validation_digit_error", 0) in cell.metrics) == named
    header, row = table_of(run)
    assert ("digit error" in header) == named
    if named:
        error = cell.metrics["cv_validation_digit_error", 0]
        assert error == pytest.approx(cell.metrics["validation_digit_error", 2])
        assert row[header.index("digit error")] == f"{100 * error:.2f} %"


def test_a_digit_model_errs_on_no_pair_whose_digits_it_names_right(sampling: Sampling) -> None:
    _, [cell] = cells_of(sampling, "epochs=8", model="linear_digits")
    for epoch in range(1, 9):
        assert cell.metrics["validation_error", epoch] <= 2 * cell.metrics["validation_digit_error", epoch]
    assert cell.metrics["cv_validation_digit_error", 0] < 0.7  # by chance it would be 0.9


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"select": "mean+sd"}, "unknown selection 'mean.sd'; did you mean mean.std"),
        ({"folds": 101}, "number of folds must lie between 2 and the 100 samples of a round, but got 101"),
        ({"rounds": 0}, "--rounds must be between 1 and 1000, but got 0"),
    ],
)
def test_bad_options_are_refused(sampling: Sampling, change: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        CrossValidateConfig(sampling=sampling, model="mlp", **change)

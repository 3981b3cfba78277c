"""cross_validate: K folds x N rounds of one configuration, or of a grid, on training digits alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.base.errors import InputError, StageError
from pipeline.data.pools import Pools
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.registry import get_variant
from pipeline.models.variant import Variant
from pipeline.reports.figures import learning_curves
from pipeline.reports.statistics import Summary, summarise
from pipeline.reports.tables import Table
from pipeline.stages.configurations import parse_grid
from pipeline.stages.planning import Work
from pipeline.stages.replicas import FoldsConfig, curves_of, error_series, fold_replicas, open_pools
from pipeline.stages.stage import Reporter, StageResult, log_composition, open_store, percent, show_hyper, show_value
from pipeline.tracking.port import (
    Metric,
    Run,
    RunStart,
    Tracker,
    config_tags,
    curve,
    stage_run,
    variant_params,
    variant_tags,
)
from pipeline.training.plan import Job, Outcome
from pipeline.training.pool import Trainer
from pipeline.tuning.trials import selection_score


@dataclass(frozen=True, kw_only=True)
class CrossValidateConfig(FoldsConfig):
    """What to cross-validate."""

    folds: int = 10
    patience: int = 0
    """A training stops when so many epochs in a row brought no lower validation error; 0 for never."""
    grid: str = "preset"
    """`preset`, or values by hyperparameter such as `epochs=25,50 batch_size=25,50,100`; others as in the preset."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience < 0:
            raise InputError(f"--patience must be 0 (never stop early) or more, but got {self.patience}")

    @property
    def folding(self) -> dict[str, int]:
        """What a cell was measured with, as it is logged."""
        return {"folds": self.folds, "rounds": self.rounds, "patience": self.patience}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration with what each fold of each round gave, read after its number of epochs."""

    hyper: Hyperparameters
    outcomes: Sequence[Outcome]
    folds: int

    @property
    def diverged(self) -> bool:
        """Whether any training had failed by that epoch."""
        return any(
            outcome.has_failed and len(outcome.held_out_error_E) <= self.hyper.epochs for outcome in self.outcomes
        )

    @property
    def curves(self) -> dict[str, list[list[float]]]:
        """Metric name -> the curve of every training, cut at the cell's epochs."""
        curves = curves_of(self.outcomes, "validation")
        return {name: [values[: self.hyper.epochs] for values in each] for name, each in curves.items()}

    @property
    def train_error(self) -> Summary:
        """On all training samples after the last epoch, over folds and rounds."""
        return self._summary(
            [outcome.train_error_at.get(self.hyper.epochs, outcome.train_error) for outcome in self.outcomes]
        )

    @property
    def validation_error(self) -> Summary:
        """On the validation samples after the last epoch, over folds and rounds; NaN when a training diverged."""
        return self._summary(self.validation_errors)

    @property
    def digit_error(self) -> Summary | None:
        """The same of their digits, where they are named."""
        return self._summary(self._last("validation_digit_error")) if "validation_digit_error" in self.curves else None

    def _summary(self, values: Sequence[float]) -> Summary:
        """Of folds, which share training samples."""
        return summarise(values, overlap=1 / (self.folds - 1))

    def score(self, select: str) -> float:
        """What the best cell has least of."""
        return selection_score(self.validation_errors, select)

    @property
    def validation_errors(self) -> list[float]:
        """After the last epoch, fold by fold and round by round; NaN when a training diverged."""
        return self._last("validation_error")

    def _last(self, name: str) -> list[float]:
        return [math.nan if self.diverged else values[-1] for values in self.curves[name]]


def inputs(config: CrossValidateConfig) -> tuple[Variant, list[Hyperparameters], Pools, list[Job]]:
    """The variant, the cells of its grid, the pools, and the trainings that give all cells."""
    variant = get_variant(config.model)
    cells = parse_grid(config.grid, variant)
    pools = open_pools(variant, config.setting, config.compute)
    jobs = [
        Job(
            variant=variant.name,
            replicas=fold_replicas(
                pools,
                config.setting,
                trained,
                rounds=config.rounds,
                folds=config.folds,
                read_at=tuple(sorted(epochs)),
                patience=config.patience,
            ),
        )
        for trained, epochs in _trainings(cells).items()
    ]
    return variant, cells, pools, jobs


def plan(config: CrossValidateConfig) -> list[Work]:
    """The folds of all cells."""
    variant, cells, _, jobs = inputs(config)
    read_off = len(cells) - len(jobs)
    return [
        Work(
            what=f"cross_validate {variant.name}",
            trainings=f"{len(jobs)} cells x {config.rounds} rounds x {config.folds} folds",
            jobs=jobs,
            done=f"{read_off} cells read off others" if read_off else "-",
        )
    ]


def run(config: CrossValidateConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Train every fold of every round for every cell; log curves, table and figures, a child run for each cell."""
    setting = config.setting
    variant, cells, pools, jobs = inputs(config)
    open_store(tracker, reporter)
    start = RunStart(
        name=f"cross_validate {variant.name}",
        role="cross_validate",
        params={
            **variant_params(variant),
            **setting.params,
            **config.compute.params,
            "grid": config.grid,
            **config.folding,
            "select": config.select,
        },
        tags=variant_tags(variant),
        data=pools,
    )
    with stage_run(tracker, start, parent) as run, Trainer(pools.train, pools.train, config.compute) as trainer:
        label = f"cross_validate {variant.name}"
        with reporter.progress(label, sum(job.replica_epochs for job in jobs)) as bar:
            outcomes = trainer.run(jobs, lambda done, _: bar.update(done))
        results = _read_cells(cells, outcomes, config.folds)
        for cell in results:
            if len(results) == 1:
                _log_cell(run, variant, cell)
            else:
                child = RunStart(
                    name=f"cell {show_hyper(variant, cell.hyper)}",
                    role="cell",
                    params={**variant_params(variant), **setting.params, **config.compute.params, **config.folding},
                    tags=variant_tags(variant),
                    data=pools,
                )
                cell_run = tracker.start(child, run)
                _log_cell(cell_run, variant, cell)
                cell_run.end("FAILED" if cell.diverged else "FINISHED")
        log_composition(run, trainer)
        table = _table(variant, results)
        run.text("cross_validation.md", table.markdown())
        run.text("cross_validation.csv", table.csv())
        if all(cell.diverged for cell in results):
            raise StageError("the loss of every configuration became infinite; choose smaller learning rates")
        best = min(results, key=lambda cell: (cell.diverged, cell.score(config.select)))
        run.log(metrics=_summary_metrics(best), tags=config_tags(best.hyper))
        result = StageResult(
            run_id=run.id,
            headline=f"{variant.name}: validation error {best.validation_error.percent()}"
            + ("" if best.digit_error is None else f" (digits {best.digit_error.percent()})")
            + f" over {config.rounds} x {config.folds} folds with {show_hyper(variant, best.hyper)}"
            + (f", the best of {len(results)} cells by {config.select}" if len(results) > 1 else ""),
            table=table,
            notes=[
                f"The training pool of {pools.name} alone; ± is the standard deviation over all folds of all rounds; "
                "the interval is that of the mean, corrected for what folds share (Nadeau and Bengio, 2003).",
                "Cells that differ in epochs alone are read off one training where the schedule allows it.",
            ][: 2 if len(jobs) < len(results) else 1],
        )
        run.describe(result.description)
    return result


def _trainings(cells: Sequence[Hyperparameters]) -> dict[Hyperparameters, set[int]]:
    """The trainings that give all cells, each with the epochs at which it is read: one for each path."""
    epochs: dict[Hyperparameters, set[int]] = defaultdict(set)
    for cell in cells:
        epochs[cell.path].add(cell.epochs)
    return {replace(path, epochs=max(wanted)): wanted for path, wanted in epochs.items()}


def _read_cells(cells: Sequence[Hyperparameters], outcomes: Sequence[Sequence[Outcome]], folds: int) -> list[Cell]:
    by_path = {trained.path: given for trained, given in zip(_trainings(cells), outcomes, strict=True)}
    return [Cell(hyper=cell, outcomes=by_path[cell.path], folds=folds) for cell in cells]


def _log_cell(run: Run, variant: Variant, cell: Cell) -> None:
    curves = cell.curves
    metrics = _summary_metrics(cell)  # first, since MLflow shows metrics in the order in which they came
    for name, folds in curves.items():
        shortest = min(map(len, folds))
        metrics += curve(name, [sum(fold[epoch] for fold in folds) / len(folds) for epoch in range(shortest)])
    metrics += [Metric("fold/validation_error", error, number) for number, error in enumerate(cell.validation_errors)]
    run.log(
        params=variant.shown(cell.hyper),
        metrics=[metric for metric in metrics if math.isfinite(metric.value)],
        tags=config_tags(cell.hyper),
    )
    title = f"{variant.name}: mean and one standard deviation over folds\n{show_hyper(variant, cell.hyper)}"
    run.figure(
        "curves.png",
        learning_curves(
            {"training": curves["train_loss"], "validation": curves["validation_loss"]},
            error_series(curves, "validation"),
            title,
        ),
    )


def _summary_metrics(cell: Cell) -> list[Metric]:
    validation, train, digits = cell.validation_error, cell.train_error, cell.digit_error
    return [
        Metric("cv_validation_error", validation.mean),
        *([] if digits is None else [Metric("cv_validation_digit_error", digits.mean)]),
        Metric("cv_validation_error_std", validation.std),
        Metric("cv_validation_error_low", validation.low),
        Metric("cv_validation_error_high", validation.high),
        Metric("cv_train_error", train.mean),
        Metric("cv_train_error_std", train.std),
        Metric("seconds_per_epoch", float(np.mean([outcome.seconds_per_epoch for outcome in cell.outcomes]))),
    ]


def _table(variant: Variant, cells: Sequence[Cell]) -> Table:
    shown = [variant.shown(cell.hyper) for cell in cells]
    names = [
        name
        for name in variant.hyperparameters
        if any(hyper.get(name) != variant.defaults.get(name) for hyper in shown if name in hyper)
    ]
    digits = ["digit error"] if variant.recognises_digits else []
    rows = []
    for cell, hyper in zip(cells, shown, strict=True):
        values = [show_value(hyper[name]) if name in hyper else "-" for name in names]
        if cell.diverged:
            rows.append([*values, "diverged", "-", "diverged", "-", "-", *["-" for _ in digits]])
            continue
        errors = [
            text
            for summary in (cell.train_error, cell.validation_error)
            for text in (percent(summary.mean), percent(summary.std))
        ]
        digit_error = [] if cell.digit_error is None else [percent(cell.digit_error.mean)]
        rows.append([*values, *errors, cell.validation_error.interval(), *digit_error])
    return Table([*names, "train error", "± std", "validation error", "± std", "95 % interval", *digits], rows)

"""cross_validate: K folds x N rounds of one configuration, or of a grid, on training samples alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.base.errors import InputError, StageError
from pipeline.data.dataset import Splits
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.metrics import Metric as Measured
from pipeline.models.variant import Variant
from pipeline.reports.figures import learning_curves
from pipeline.reports.statistics import Summary, summarise
from pipeline.reports.tables import Table
from pipeline.stages.configurations import parse_grid
from pipeline.stages.planning import Work
from pipeline.stages.replicas import (
    FoldsConfig,
    curves_of,
    explained,
    fold_replicas,
    metric_series,
    open_stage,
    training_tags,
)
from pipeline.stages.stage import (
    Reporter,
    StageResult,
    log_composition,
    open_store,
    show_hyper,
    show_others,
    show_value,
)
from pipeline.tasks.subjects import Subject
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
    """A training stops when so many epochs in a row brought no lower validation metric; 0 for never."""
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

    variant: Variant
    hyper: Hyperparameters
    outcomes: Sequence[Outcome]
    folds: int

    @property
    def diverged(self) -> bool:
        """Whether any training had failed by that epoch."""
        return any(outcome.has_failed and outcome.epochs <= self.hyper.epochs for outcome in self.outcomes)

    @property
    def curves(self) -> dict[str, list[list[float]]]:
        """Metric name -> the curve of every training, cut at the cell's epochs."""
        curves = curves_of(self.outcomes, "validation")
        return {name: [values[: self.hyper.epochs] for values in each] for name, each in curves.items()}

    @property
    def train(self) -> Summary:
        """The first metric on all training samples after the last epoch, over folds and rounds."""
        metric = self.variant.metric
        return self._summary(metric, [outcome.train(metric.name, self.hyper.epochs) for outcome in self.outcomes])

    @property
    def validation(self) -> dict[str, Summary]:
        """Every metric on the validation samples after the last epoch, over folds and rounds, the first one first; NaN
        when a training diverged."""
        return {metric.name: self._summary(metric, self._last(metric.name)) for metric in self.variant.metrics}

    @property
    def error(self) -> Summary:
        """The first of them."""
        return self.validation[self.variant.metric.name]

    def _summary(self, metric: Measured, values: Sequence[float]) -> Summary:
        """Of folds, which share training samples."""
        return summarise(values, metric.unit, overlap=1 / (self.folds - 1))

    def score(self, select: str) -> float:
        """What the best cell has least of."""
        return selection_score(self.last_values, select)

    @property
    def last_values(self) -> list[float]:
        """The first metric after the last epoch, fold by fold and round by round; NaN when a training diverged."""
        return self._last(self.variant.metric.name)

    def _last(self, metric: str) -> list[float]:
        curves = self.curves.get(f"validation_{metric}", [[]] * len(self.outcomes))
        return [math.nan if self.diverged or not values else values[-1] for values in curves]


def inputs(config: CrossValidateConfig) -> tuple[Subject, list[Hyperparameters], list[Job]]:
    """The variant with its data, the cells of its grid, and the trainings that give all cells."""
    cells = parse_grid(config.grid, config.variant)
    subject = open_stage(config.model, config.sampling, config.compute)
    variant, splits = subject.variant, subject.splits
    jobs = [
        Job(
            variant=variant,
            replicas=fold_replicas(
                splits,
                config.sampling,
                trained,
                rounds=config.rounds,
                folds=config.folds,
                read_at=tuple(sorted(epochs)),
                patience=config.patience,
            ),
        )
        for trained, epochs in _trainings(cells).items()
    ]
    return subject, cells, jobs


def plan(config: CrossValidateConfig) -> list[Work]:
    """The folds of all cells."""
    subject, cells, jobs = inputs(config)
    variant = subject.variant
    read_off = len(cells) - len(jobs)
    return [
        Work(
            what=f"cross_validate {variant.name}",
            trainings=f"{len(jobs)} cells x {config.rounds} rounds x {config.folds} folds",
            jobs=jobs,
            done=f"{read_off} cells read off others" if read_off else "-",
            note=" ".join(f"{line}." for line in explained(subject)),
        )
    ]


def run(config: CrossValidateConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Train every fold of every round for every cell; log curves, table and figures, a child run for each cell."""
    sampling = config.sampling
    subject, cells, jobs = inputs(config)
    variant, splits = subject.variant, subject.splits
    open_store(tracker, reporter)
    for line in explained(subject):
        reporter.say(line)
    start = RunStart(
        name=f"cross_validate {variant.name}",
        role="cross_validate",
        params={
            **variant_params(variant),
            **sampling.params,
            **config.compute.params,
            "grid": config.grid,
            **config.folding,
            "select": config.select,
        },
        tags={**variant_tags(variant), **training_tags(variant, variant.preset.structure)},
        data=splits,
    )
    with stage_run(tracker, start, parent) as run, Trainer(splits.train, splits.train, config.compute) as trainer:
        label = f"cross_validate {variant.name}"
        with reporter.progress(label, sum(job.replica_epochs for job in jobs)) as bar:
            outcomes = trainer.run(jobs, lambda done, _: bar.update(done))
        results = _read_cells(variant, cells, outcomes, config.folds)
        if len(results) == 1:
            _log_cell(run, results[0])
        else:
            params = {**variant_params(variant), **sampling.params, **config.compute.params, **config.folding}
            for cell in results:
                _log_cell_run(tracker, run, cell, params, splits)
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
            headline=f"{variant.name}: validation {variant.metric.title} {best.error.text()}"
            + show_others(best.validation)
            + f" over {config.rounds} x {config.folds} folds with {show_hyper(variant, best.hyper)}"
            + (f", the best of {len(results)} cells by {config.select}" if len(results) > 1 else ""),
            table=table,
            notes=[
                f"The training part of {splits.name} alone; ± is the standard deviation over all folds of all rounds; "
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


def _read_cells(
    variant: Variant, cells: Sequence[Hyperparameters], outcomes: Sequence[Sequence[Outcome]], folds: int
) -> list[Cell]:
    by_path = {trained.path: given for trained, given in zip(_trainings(cells), outcomes, strict=True)}
    return [Cell(variant=variant, hyper=cell, outcomes=by_path[cell.path], folds=folds) for cell in cells]


def _log_cell_run(tracker: Tracker, run: Run, cell: Cell, params: Mapping[str, Any], splits: Splits) -> None:
    """Keep one of several cells in a run of its own, below that of the stage."""
    name, tags = f"cell {show_hyper(cell.variant, cell.hyper)}", variant_tags(cell.variant)
    cell_run = tracker.start(RunStart(name=name, role="cell", params=params, tags=tags, data=splits), run)
    _log_cell(cell_run, cell)
    cell_run.end("FAILED" if cell.diverged else "FINISHED")


def _log_cell(run: Run, cell: Cell) -> None:
    variant, curves, first = cell.variant, cell.curves, cell.variant.metric
    metrics = _summary_metrics(cell)  # first, since MLflow shows metrics in the order in which they came
    for name, folds in curves.items():
        shortest = min(map(len, folds))
        metrics += curve(name, [sum(fold[epoch] for fold in folds) / len(folds) for epoch in range(shortest)])
    metrics += [Metric(f"fold/validation_{first.name}", value, number) for number, value in enumerate(cell.last_values)]
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
            metric_series(curves, variant, "validation"),
            title,
            first,
        ),
    )


def _summary_metrics(cell: Cell) -> list[Metric]:
    first, train = cell.variant.metric.name, cell.train
    return [
        Metric(f"cv_validation_{first}", cell.error.mean),
        *(Metric(f"cv_validation_{name}", other.mean) for name, other in cell.validation.items() if name != first),
        Metric(f"cv_validation_{first}_std", cell.error.std),
        Metric(f"cv_validation_{first}_low", cell.error.low),
        Metric(f"cv_validation_{first}_high", cell.error.high),
        Metric(f"cv_train_{first}", train.mean),
        Metric(f"cv_train_{first}_std", train.std),
        Metric("seconds_per_epoch", float(np.mean([outcome.seconds_per_epoch for outcome in cell.outcomes]))),
    ]


def _table(variant: Variant, cells: Sequence[Cell]) -> Table:
    shown = [variant.shown(cell.hyper) for cell in cells]
    names = [
        name
        for name in variant.hyperparameters
        if any(hyper.get(name) != variant.defaults.get(name) for hyper in shown if name in hyper)
    ]
    first, *others = variant.metrics
    rows = []
    for cell, hyper in zip(cells, shown, strict=True):
        values = [show_value(hyper[name]) if name in hyper else "-" for name in names]
        if cell.diverged:
            rows.append([*values, "diverged", "-", "diverged", "-", "-", *["-" for _ in others]])
            continue
        show = first.unit.show
        errors = [text for each in (cell.train, cell.error) for text in (show(each.mean), show(each.std))]
        rest = [metric.unit.show(cell.validation[metric.name].mean) for metric in others]
        rows.append([*values, *errors, cell.error.interval(), *rest])
    headers = [f"train {first.title}", "± std", f"validation {first.title}", "± std", "95 % interval"]
    return Table([*names, *headers, *(metric.title for metric in others)], rows)

"""cross_validate: K folds x N rounds of one configuration, or of a grid, on training digits alone."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.data.digits import DigitPools
from pipeline.data.prepared import load_pools
from pipeline.errors import InputError, StageError, UnknownNameError
from pipeline.models.registry import get_variant
from pipeline.models.variant import DEFAULTS, HYPERPARAMETERS, Hyperparameters, Value, Variant
from pipeline.reports.figures import learning_curves
from pipeline.reports.statistics import Summary, summarise
from pipeline.reports.tables import Table
from pipeline.stages.replicas import FoldsConfig, fold_replicas
from pipeline.stages.stage import Reporter, StageResult, log_composition, open_store, percent, show_hyper, show_value
from pipeline.tracking.port import (
    Metric,
    Run,
    RunStart,
    Tracker,
    config_tags,
    curve,
    killed_if_broken,
    stage_run,
    variant_params,
)
from pipeline.training.plan import Job, Outcome
from pipeline.training.pool import Trainer

MAX_CELLS = 1000


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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration with what each fold of each round gave, read after its number of epochs."""

    hyper: Hyperparameters
    outcomes: Sequence[Outcome]

    @property
    def diverged(self) -> bool:
        """Whether the loss of any training was no longer finite by that epoch."""
        return any(
            outcome.status == "diverged" and len(outcome.held_out_error_E) <= self.hyper.epochs
            for outcome in self.outcomes
        )

    def series(self, name: str) -> list[list[float]]:
        """A curve of every training, cut at the cell's epochs."""
        return [getattr(outcome, name)[: self.hyper.epochs].tolist() for outcome in self.outcomes]

    @property
    def train_error(self) -> Summary:
        """On all training pairs after the last epoch, over folds and rounds."""
        return summarise(
            [outcome.train_error_at.get(self.hyper.epochs, outcome.train_error) for outcome in self.outcomes]
        )

    @property
    def validation_error(self) -> Summary:
        """On the validation pairs after the last epoch, over folds and rounds; NaN when a training diverged."""
        return summarise([math.nan if self.diverged else errors[-1] for errors in self.series("held_out_error_E")])


def inputs(config: CrossValidateConfig) -> tuple[Variant, list[Hyperparameters], DigitPools, list[Job]]:
    """The variant, the cells of its grid, the pools, and the trainings that give all cells."""
    variant = get_variant(config.model)
    cells = parse_grid(config.grid, variant)
    pools = load_pools(config.setting.data)
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
            "folds": config.folds,
            "rounds": config.rounds,
            "patience": config.patience,
        },
        tags={"model": variant.name},
        data=pools,
    )
    with stage_run(tracker, start, parent) as run, Trainer(pools.train, pools.train, config.compute) as trainer:
        label = f"cross_validate {variant.name}"
        with reporter.progress(label, sum(job.replica_epochs for job in jobs)) as bar:
            outcomes = trainer.run(jobs, lambda done, _: bar.update(done))
        results = _read_cells(cells, outcomes)
        for cell in results:
            if len(results) == 1:
                _log_cell(run, variant, cell)
            else:
                child = RunStart(
                    name=f"cell {show_hyper(variant, cell.hyper)}",
                    role="cell",
                    params={**variant_params(variant), **setting.params},
                    tags={"model": variant.name},
                    data=pools,
                )
                cell_run = tracker.start(child, run)
                with killed_if_broken(cell_run):
                    _log_cell(cell_run, variant, cell)
                cell_run.end("FAILED" if cell.diverged else "FINISHED")
        log_composition(run, trainer)
        table = _table(variant, results)
        run.text("cross_validation.md", table.markdown())
        run.text("cross_validation.csv", table.csv())
        if all(cell.diverged for cell in results):
            raise StageError("the loss of every configuration became infinite; choose smaller learning rates")
        best = min(results, key=lambda cell: (cell.diverged, cell.validation_error.mean))
        run.log(metrics=_summary_metrics(best), tags=config_tags(best.hyper))
        result = StageResult(
            run_id=run.id,
            headline=f"{variant.name}: validation error {best.validation_error.percent()} over "
            f"{config.rounds} x {config.folds} folds with {show_hyper(variant, best.hyper)}"
            + (f", the best of {len(results)} cells" if len(results) > 1 else ""),
            table=table,
            notes=[
                f"Training digits of {pools.name} alone; ± is the standard deviation over all folds of all rounds.",
                "Cells that differ in epochs alone are read off one training where the schedule allows it.",
            ][: 2 if len(jobs) < len(results) else 1],
        )
        run.describe(result.markdown())
    return result


def parse_grid(text: str, variant: Variant) -> list[Hyperparameters]:
    """All configurations of a grid in the order of its text.

    `preset` is the variant's own; otherwise `name=value,value ...` for each hyperparameter that is varied.
    Raises InputError that names the part which is wrong.
    """
    if text.strip() == "preset":
        return [variant.preset]
    values: dict[str, list[Value]] = {}
    for part in text.split():
        name, equals, listed = part.partition("=")
        if not equals or not listed:
            raise InputError(f"a grid is made of name=value,value parts separated by spaces, but got {part!r}")
        if name not in HYPERPARAMETERS:
            raise UnknownNameError("hyperparameter", name, HYPERPARAMETERS)
        if name in values:
            raise InputError(f"a grid names each hyperparameter once, but {name} stands twice")
        values[name] = [_value(name, item) for item in listed.split(",")]
    if not values:
        raise InputError("a grid must be `preset` or name at least one hyperparameter, but it is empty")
    if (count := math.prod(len(listed) for listed in values.values())) > MAX_CELLS:
        raise InputError(f"a grid may have {MAX_CELLS} cells at most, but got {count}")
    cells = [
        variant.check(variant.preset.having(dict(zip(values, chosen, strict=True))))
        for chosen in itertools.product(*values.values())
    ]
    if len(set(cells)) < len(cells):
        raise InputError(f"the cells of a grid must differ from one another, but {text!r} names some twice")
    return cells


def _value(name: str, text: str) -> Value:
    kind = HYPERPARAMETERS[name]
    try:
        value: Value = kind(text)
    except ValueError:
        rule = "a whole number" if kind is int else "a number"
        raise InputError(f"{name} must be {rule}, but got {text!r}") from None
    return value


def _trainings(cells: Sequence[Hyperparameters]) -> dict[Hyperparameters, set[int]]:
    """The trainings that give all cells, each with the epochs at which it is read: one for each path."""
    epochs: dict[Hyperparameters, set[int]] = defaultdict(set)
    for cell in cells:
        epochs[cell.path].add(cell.epochs)
    return {replace(path, epochs=max(wanted)): wanted for path, wanted in epochs.items()}


def _read_cells(cells: Sequence[Hyperparameters], outcomes: Sequence[Sequence[Outcome]]) -> list[Cell]:
    by_path = {trained.path: given for trained, given in zip(_trainings(cells), outcomes, strict=True)}
    return [Cell(hyper=cell, outcomes=by_path[cell.path]) for cell in cells]


def _log_cell(run: Run, variant: Variant, cell: Cell) -> None:
    names = {
        "train_loss": "train_loss_E",
        "train_error": "train_error_E",
        "validation_loss": "held_out_loss_E",
        "validation_error": "held_out_error_E",
    }
    curves = {name: cell.series(attribute) for name, attribute in names.items()}
    metrics = []
    for name, folds in curves.items():
        shortest = min(map(len, folds))
        metrics += curve(name, [sum(fold[epoch] for fold in folds) / len(folds) for epoch in range(shortest)])
    run.log(
        params=variant.shown(cell.hyper),
        metrics=[metric for metric in (*metrics, *_summary_metrics(cell)) if math.isfinite(metric.value)],
        tags=config_tags(cell.hyper),
    )
    title = f"{variant.name}, {show_hyper(variant, cell.hyper)}: mean and one standard deviation over folds"
    run.figure(
        "curves.png",
        learning_curves(
            {"training": curves["train_loss"], "validation": curves["validation_loss"]},
            {"training": curves["train_error"], "validation": curves["validation_error"]},
            title,
        ),
    )


def _summary_metrics(cell: Cell) -> list[Metric]:
    validation, train = cell.validation_error, cell.train_error
    return [
        Metric("cv_validation_error", validation.mean),
        Metric("cv_validation_error_std", validation.std),
        Metric("cv_train_error", train.mean),
        Metric("cv_train_error_std", train.std),
    ]


def _table(variant: Variant, cells: Sequence[Cell]) -> Table:
    shown = [variant.shown(cell.hyper) for cell in cells]
    names = [
        name
        for name in HYPERPARAMETERS
        if any(hyper.get(name) != DEFAULTS.get(name) for hyper in shown if name in hyper)
    ]
    rows = []
    for cell, hyper in zip(cells, shown, strict=True):
        values = [show_value(hyper[name]) if name in hyper else "-" for name in names]
        if cell.diverged:
            rows.append([*values, "diverged", "-", "diverged", "-"])
            continue
        train, validation = cell.train_error, cell.validation_error
        rows.append(
            [*values, percent(train.mean), percent(train.std), percent(validation.mean), percent(validation.std)]
        )
    return Table([*names, "train error", "± std", "validation error", "± std"], rows)

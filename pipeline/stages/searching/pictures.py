"""What a search shows in pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from pipeline.reports.figures import error_against, grid_heat_map, loss_curve, pareto_front, search_history
from pipeline.stages.searching.result import SearchResult, error_of
from pipeline.stages.stage import show_hyper, show_value
from pipeline.tracking.port import Run
from pipeline.tuning.dashboard import StudyPages
from pipeline.tuning.trial_samplers import ALPHA
from pipeline.tuning.trials import TrialRecord

COST_LABELS = {"parameters": "parameters", "time": "time of a training (nominal seconds)"}


def log_pictures(found: SearchResult, chosen: TrialRecord, run: Run, pages: StudyPages) -> None:
    """Keep those that a search with this winner gives with its run, and the history with its study too."""
    _log_history(found, run, pages)
    if found.config.sampler == "two-step":
        _log_two_steps(found, chosen, run)
    if found.config.cost:
        every = [(record.cost or 0.0, record.score or 0.0) for record in found.ranked]
        front = [(record.cost or 0.0, record.score or 0.0) for record in found.front]
        run.figure("front.png", pareto_front(every, front, COST_LABELS[found.config.cost], found.variant.metric))


def _log_history(found: SearchResult, run: Run, pages: StudyPages) -> None:
    """The error of every trial by number, beside that of the preset."""
    pruned = [record for record in found.records if record.state == "pruned"]
    figure = search_history(
        {record.number: record.error for record in found.comparable if record.error is not None},
        {record.number: record.searched[-1] for record in pruned},
        None if found.baseline is None else found.baseline.error,
        {record.number: record.error for record in found.records if record.samples and record.error is not None},
        {record.number: found.rechecked_error(record) for record in found.rechecked},
        found.variant.metric,
    )
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    pages.study_file("history.png", content.getvalue())
    run.figure("history.png", figure)


def _log_two_steps(found: SearchResult, best: TrialRecord, run: Run) -> None:
    """What report 003's figure 2 shows: error over the grid, error against alpha, and loss against epoch."""
    complete = [record for record in found.records if record.state == "complete"]
    searched = [name for name, each in found.space.dimensions.items() if name != ALPHA and len(each.grid) > 1]
    if len(searched) > 1:
        first = [record for record in complete if record.hyper.alpha == found.space.preset.alpha]
        _log_heat_map(found, first, run, *searched[:2])
    along = [record for record in complete if record.hyper.replaced({ALPHA: 0}) == best.hyper.replaced({ALPHA: 0})]
    if len(along) > 1:
        along.sort(key=lambda record: record.hyper.alpha)
        folds = np.array([[errors[-1] for errors in record.fold_errors] for record in along])
        alphas = [record.hyper.alpha for record in along]
        means, spreads = folds.mean(1).tolist(), folds.std(1, ddof=1).tolist()
        run.figure("alpha.png", error_against(alphas, means, spreads, ALPHA, best.hyper.alpha, found.variant.metric))
    title = f"{found.variant.name}: mean over folds\n{show_hyper(found.variant, best.hyper)}"
    run.figure("loss.png", loss_curve(best.curves["train_loss"], best.curves["validation_loss"], title))


def _log_heat_map(found: SearchResult, records: Sequence[TrialRecord], run: Run, rows: str, columns: str) -> None:
    """The least error for each two values of two hyperparameters; the least of all is framed."""
    values = {name: found.space.dimensions[name].grid for name in (rows, columns)}
    error_VW = np.full([len(grid) for grid in values.values()], np.nan)
    for record in records:
        hyper = record.hyper.as_dict()
        cell = tuple(grid.index(hyper[name]) for name, grid in values.items())
        error_VW[cell] = np.fmin(error_VW[cell], error_of(record))
    chosen = None
    if np.isfinite(error_VW).any():
        row, column = np.unravel_index(np.nanargmin(error_VW), error_VW.shape)
        chosen = (int(row), int(column))
    ticks = {name: [show_value(value) for value in grid] for name, grid in values.items()}
    figure = grid_heat_map(error_VW, ticks[rows], ticks[columns], rows, columns, chosen, found.variant.metric)
    run.figure("heat_map.png", figure)

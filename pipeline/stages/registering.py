"""Registered models: a new version becomes the champion if it beats the present one on the same test samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.base.errors import InputError
from pipeline.base.locks import machine_lock
from pipeline.reports.contrasts import Contrast, judge
from pipeline.stages.comparing.evaluations import Evaluation, measured_otherwise
from pipeline.stages.comparing.tables import significance
from pipeline.tracking.port import Run, RunRecord, Tracker

NEW, CHAMPION = "this one", "the champion"
SEPARATORS = "/:"
"""What MLflow's addresses of models are made with."""


def check_name(name: str) -> None:
    """Raise InputError unless a registered model can be called so."""
    is_path = name in (".", "..") or any(mark in name for mark in SEPARATORS)
    if is_path or name != name.strip() or not name.isprintable():
        raise InputError(
            f"a registered model is named without {' and '.join(SEPARATORS)}, without blanks at its ends, not . or .., "
            f"and in printable characters, but got --register {name!r}"
        )


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What became of a model that was registered."""

    note: str
    links: Mapping[str, str]
    """What it was compared with."""


def register(name: str, run: Run, tracker: Tracker) -> Registered:
    """Add the model of an evaluation as a version, and make it the champion if it is better than the present one."""
    with machine_lock("champion", name):
        present = tracker.champion(name)
        version = tracker.register(run, name)
        is_better, why = (True, "it is the first one") if present is None else _compared(run, present, tracker)
        if is_better:
            tracker.set_champion(name, version)
    return Registered(
        note=f"Version {version} of the registered model {name}, {'now' if is_better else 'not'} the champion: {why}.",
        links={} if present is None else {"the champion of before": tracker.reference(present.id)},
    )


def _compared(run: Run, present: RunRecord, tracker: Tracker) -> tuple[bool, str]:
    """Whether the run's test metric is significantly less than that of the present champion, and how they compare."""
    mine, its = (Evaluation(run=record, tracker=tracker) for record in (tracker.get(run.id), present))
    if reasons := measured_otherwise([mine, its]):
        return False, f"the present one was not measured alike ({'; '.join(reasons)})"
    contrast = Contrast(name="new or champion", family="", weights={NEW: 1.0, CHAMPION: -1.0})
    losses = {name: each.losses_RN for name, each in ((NEW, mine), (CHAMPION, its)) if each.losses_RN is not None}
    errors = {NEW: mine.test_R, CHAMPION: its.test_R}
    [verdict] = judge([contrast], errors, losses=losses if len(losses) == len(errors) else None)
    metric = mine.variant.metric
    return verdict.significant and verdict.mean < 0, (
        f"its test {metric.title} differs from that of the champion of before, {its.model}, by "
        f"{metric.unit.difference(verdict.mean)}{metric.unit.suffix} "
        f"over {verdict.n} rounds ({significance(verdict.p)})"
    )

"""runs: what was run, as a list for people and programs without a browser. It trains and logs nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.base.durations import show_seconds
from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.metrics import SHARE, Unit
from pipeline.reports.layout import Part
from pipeline.reports.tables import Table
from pipeline.stages.stage import Reporter, open_store
from pipeline.tracking.port import RunQuery, RunRecord, Tracker

STAGES = (
    *("main", "prepare", "cross_validate", "search", "evaluate", "compare", "reproduce"),
    *("cell", "trial", "summary"),
)
PARTS = ("cell", "trial")
"""Stages of which there are many runs below another one: listed when they are asked for."""
STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
RESULTS = ("final_test_", "cv_validation_")
"""How the names begin of what a run is shown with, the first that it has; its tag `metric` says how they end."""
NEWEST = "started"
SAMPLE = 100
"""Of the newest runs so many are looked at for the names of metrics."""


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """Which runs, in which order and form."""

    model: str = ""
    stage: str = ""
    """A role; empty for all but `PARTS`."""
    status: str = ""
    experiment: str = ""
    """Name of an experiment; empty for all."""
    sort: str = NEWEST
    """`started`, the newest first, or a metric, the least first; runs that do not have it are left out."""
    descending: bool = False
    """The greatest first."""
    limit: int = 20
    """The most runs that are listed; 0 for all."""
    format: str = "table"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("stage", self.stage or STAGES[0], STAGES),
            ("status", self.status or STATUSES[0], STATUSES),
            ("format", self.format, FORMATS),
        ):
            if value not in known:
                raise UnknownNameError(name, value, known)
        if not self.sort:
            raise InputError(f"--sort must be {NEWEST} or the name of a metric, but got ''")
        if self.limit < 0:
            raise InputError(f"--limit must be at least 0 (all), but got {self.limit}")


def run(config: RunsConfig, tracker: Tracker, reporter: Reporter) -> Part:
    """The list: a table, or text. Raises InputError for an experiment, or a metric to sort by, that no run has."""
    open_store(tracker, reporter)
    query = RunQuery(
        role=config.stage,
        other_than=() if config.stage else PARTS,
        tags={"model": config.model} if config.model else {},
        status=config.status,
        experiment=config.experiment or None,
        metric="" if config.sort == NEWEST else config.sort,
        reverse=config.descending,
        limit=config.limit,
    )
    found = list(tracker.search(query))
    if config.model and not found:
        _check_model(config.model, tracker)
    if query.metric and not found:
        alike = list(tracker.search(replace(query, metric="", reverse=False, limit=SAMPLE)))
        if alike:
            raise UnknownNameError("metric", config.sort, sorted({name for run in alike for name in run.metrics}))
    return FORMATS[config.format](found, config)


def _check_model(name: str, tracker: Tracker) -> None:
    """Raise UnknownNameError unless some run may be of this model: one of the registry, or of a person's own."""
    from pipeline.tasks.registry import variants  # with torch, a second to import

    recent = tracker.search(RunQuery(role="evaluate", limit=SAMPLE))
    known = {*variants(), *(run.tags["model"] for run in recent if "model" in run.tags)}
    if name not in known:
        raise UnknownNameError("model", name, known)


def _table(records: Sequence[RunRecord], config: RunsConfig) -> Part:
    if not records:
        return "No run fits."
    more = [] if config.sort == NEWEST or config.sort.startswith(RESULTS) else [config.sort]
    rows = [
        [
            record.id,
            record.tags.get("role", "-"),
            record.name,
            record.status,
            f"{record.started.astimezone():%Y-%m-%d %H:%M}",
            "-" if record.ended is None or record.seconds is None else show_seconds(record.seconds),
            _result(record),
            *(f"{record.metrics[name]:.6g}" for name in more),
        ]
        for record in records
    ]
    headers = ["run", "stage", "name", "status", "started", "took", "result", *more]
    return Table(headers, rows)


def _result(record: RunRecord) -> str:
    """Its first metric, in its unit; runs of earlier versions have a share of wrong answers."""
    metric, symbol = record.tags.get("metric", "error"), record.tags.get("unit", SHARE.symbol)
    unit = SHARE if symbol == SHARE.symbol else Unit(symbol)
    found = (record.metrics[name + metric] for name in RESULTS if name + metric in record.metrics)
    return next(map(unit.show, found), "-")


def _json(records: Sequence[RunRecord], config: RunsConfig) -> str:
    return json.dumps([_whole(record) for record in records], indent=1)


def _csv(records: Sequence[RunRecord], config: RunsConfig) -> str:
    flat: list[dict[str, Any]] = []
    for record in records:
        whole = _whole(record)
        params, metrics = whole.pop("params"), whole.pop("metrics")
        flat.append(
            whole
            | {f"params.{name}": value for name, value in params.items()}
            | {f"metrics.{name}": value for name, value in metrics.items()}
        )
    headers = list(dict.fromkeys(name for each in flat for name in each)) or list(_FIXED)
    return Table(headers, [[each.get(name, "") for name in headers] for each in flat]).csv().rstrip()


_FIXED: dict[str, Callable[[RunRecord], Any]] = {
    "run": lambda record: record.id,
    "stage": lambda record: record.tags.get("role", ""),
    "model": lambda record: record.tags.get("model", ""),
    "name": lambda record: record.name,
    "status": lambda record: record.status,
    "started": lambda record: record.started.isoformat(),
    "seconds": lambda record: None if record.seconds is None else round(record.seconds, 3),
}


def _whole(record: RunRecord) -> dict[str, Any]:
    """All that programs read of a run; for one that still runs, the seconds until now."""
    fixed = {name: value(record) for name, value in _FIXED.items()}
    metrics = {name: value if math.isfinite(value) else None for name, value in record.metrics.items()}
    return {**fixed, "params": dict(record.params), "metrics": metrics}


FORMATS: dict[str, Callable[[Sequence[RunRecord], RunsConfig], Part]] = {"table": _table, "json": _json, "csv": _csv}

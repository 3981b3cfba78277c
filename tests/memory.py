"""A tracker in memory: what tests of stages use, with the same rules as MLflow."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.tracking.port import VARIANTS, Metric, ModelToLog, Run, RunQuery, RunRecord, RunStart, Status, param_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class MemoryRun:
    """One run; see `Run`. Everything that was logged can be read from its fields."""

    id: str
    name: str
    started: datetime
    parent: str | None
    status: str = "RUNNING"
    ended: datetime | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, int], float] = field(default_factory=dict)
    description: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    models: list[ModelToLog] = field(default_factory=list)

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
        at: datetime | None = None,
        name: str = "",
        description: str = "",
    ) -> None:
        """Write a batch; a param that exists keeps its text."""
        self.name, self.description = name or self.name, description or self.description
        self.params = {key: param_text(value) for key, value in (params or {}).items()} | self.params
        self.metrics |= {(metric.name, metric.step): metric.value for metric in metrics}
        self.tags |= tags or {}

    def describe(self, markdown: str) -> None:
        """Set the description."""
        self.description = markdown

    def text(self, path: str, content: str) -> None:
        """Keep a text."""
        self.texts[path] = content

    def figure(self, path: str, figure: Figure) -> None:
        """Keep a picture."""
        self.figures[path] = figure

    def model(self, model: ModelToLog) -> None:
        """Keep a network, and its metrics."""
        self.models.append(model)
        self.log(metrics=model.metrics)

    def let_go(self) -> None:
        """Leave the run to another process; there is none."""

    def end(self, status: Status, ended: datetime | None = None) -> None:
        """Close the run."""
        self.status, self.ended = status, max(self.started, ended or datetime.now(UTC))


class MemoryTracker:
    """Runs in a list; see `Tracker`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.place = "memory"
        self.runs: list[MemoryRun] = []
        self.registered: dict[str, list[str]] = {}
        """Name of a registered model -> run of each version."""
        self.champions: dict[str, str] = {}
        """Name of a registered model -> its best version."""

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is open."""
        for run in self.runs:
            if run.status == "RUNNING":
                run.end("KILLED")

    def at_once(self) -> AbstractContextManager[None]:
        """Memory always answers."""
        return nullcontext()

    def start(self, start: RunStart, parent: Run | None = None) -> MemoryRun:
        """Open a run."""
        run = MemoryRun(
            uuid.uuid4().hex,
            start.name,
            start.started or datetime.now(UTC),
            None if parent is None else parent.id,
        )
        run.log(params=start.params, tags={"role": start.role, **start.data_tags, **start.tags})
        run.describe(start.description)
        self.runs.append(run)
        return run

    def reopen(self, record: RunRecord, parent: Run | None = None, *, again: bool = False) -> MemoryRun:
        """Open a run that exists."""
        run = next(run for run in self.runs if run.id == record.id)
        if again:
            run.status = "RUNNING"
        if parent is not None:
            run.parent = parent.id
        return run

    def find(self, role: str = "", *, experiment: str | None = None, **tags: str) -> list[RunRecord]:
        """Find runs, newest first; there is one experiment."""
        return list(self.search(RunQuery(role=role, experiment=experiment, tags=tags)))

    def search(self, query: RunQuery) -> Iterator[RunRecord]:
        """Find runs in an order."""
        if query.experiment not in (None, "", VARIANTS):
            raise UnknownNameError("experiment", str(query.experiment), [VARIANTS])
        found = [record for record in map(self._record, reversed(self.runs)) if query.admits(record)]
        found.sort(key=lambda record: record.started, reverse=not (query.reverse and not query.metric))
        if query.metric:
            found.sort(key=lambda record: record.metrics[query.metric], reverse=query.reverse)
        return iter(found[: query.limit or None])

    def get(self, run_id: str) -> RunRecord:
        """Read one run."""
        for run in self.runs:
            if run.id == run_id:
                return self._record(run)
        raise InputError(f"there is no run {run_id!r} in memory")

    def has(self, run_id: str) -> bool:
        """Whether there is a run of this id."""
        return any(run.id == run_id for run in self.runs)

    def history(self, run_id: str, metric: str) -> list[float]:
        """All values of a metric by step."""
        run = next(run for run in self.runs if run.id == run_id)
        return [
            value for (name, _), value in sorted(run.metrics.items(), key=lambda item: item[0][1]) if name == metric
        ]

    def read_text(self, run_id: str, path: str) -> str | None:
        """A text that a run has kept."""
        return next(run for run in self.runs if run.id == run_id).texts.get(path)

    def register(self, run: Run, name: str) -> str:
        """Make a run's network a version of a registered model."""
        assert next(each for each in self.runs if each.id == run.id).models
        versions = self.registered.setdefault(name, [])
        versions.append(run.id)
        return str(len(versions))

    def champion(self, name: str) -> RunRecord | None:
        """The run of the best version."""
        version = self.champions.get(name)
        return None if version is None else self.get(self.registered[name][int(version) - 1])

    def set_champion(self, name: str, version: str) -> None:
        """Set the alias."""
        self.champions[name] = version

    def link(self, run_id: str) -> str:
        """Runs in memory have no page."""
        return f"memory:{run_id}"

    def reference(self, run_id: str) -> str:
        """The same in a description."""
        return f"memory:{run_id}"

    def discard(self, record: RunRecord) -> None:
        """Forget a run."""
        self.runs.remove(next(run for run in self.runs if run.id == record.id))

    def left_open(self) -> list[RunRecord]:
        """Runs that have not ended, newest first."""
        return [record for record in self.find() if record.status == "RUNNING"]

    def repair(self, gone: str = "") -> int:
        """There is nothing to repair: these runs die with their process."""
        return 0

    def _record(self, run: MemoryRun) -> RunRecord:
        last = {name: value for (name, _), value in sorted(run.metrics.items(), key=lambda item: item[0][1])}
        return RunRecord(
            id=run.id,
            name=run.name,
            status=run.status,
            started=run.started,
            params=run.params,
            tags=run.tags,
            metrics=last,
            ended=run.ended,
            description=run.description,
        )

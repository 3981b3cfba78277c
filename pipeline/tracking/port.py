"""What stages ask of a tracker.

A stage opens one run with `stage_run`, logs to it in few calls, and leaves the ending to the context manager. Runs are
found again by their tags: `role` (the stage, or `trial`), `model`, `family`, `study`, `trial`, `dataset`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pipeline.base.errors import StageError, hide_secrets
from pipeline.base.outages import TrackerAwayError
from pipeline.base.stored import PAPER
from pipeline.data.dataset import Splits
from pipeline.models.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from pipeline.models.variant import Variant

VARIANTS, PUBLISHED = "model variants", "published tables"
"""What experiments are for: the user's own question, and the tables of the reports."""
DATA_TAGS = "dataset", "dataset_digest"
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Metric:
    """One number. `step` is the epoch (or the round, for metrics named `round/...`); 0 for a summary."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What is known of a run when it begins."""

    name: str
    role: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    data: Splits | None = None
    """The splits used: their digest and source are attached as the run's dataset inputs."""
    test_data: bool = False
    """Whether the test pool is used as well."""
    data_of: Sequence[RunRecord] = ()
    """Runs on whose data this one rests, instead of splits of its own: they are attached in the same way."""
    description: str = ""
    """Markdown, where it is known from the beginning."""
    started: datetime | None = None
    """When the work began, if that is not now."""
    purpose: str = VARIANTS
    """Name of the experiment of a run without a parent, unless the user has chosen one for all."""

    @property
    def data_tags(self) -> dict[str, str]:
        """Name and digest of the data, as far as they are the same for all of `data_of`."""
        if self.data is not None:
            return dict(zip(DATA_TAGS, (self.data.name, self.data.digest), strict=True))
        of_each = [{(name, run.tags.get(name, "")) for name in DATA_TAGS} for run in self.data_of]
        return {name: value for name, value in set.intersection(*of_each) if value} if of_each else {}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run read back."""

    id: str
    name: str
    status: str
    started: datetime
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    experiment: str = ""
    """The tracker's name for what it is part of."""
    ended: datetime | None = None
    description: str = ""

    @property
    def seconds(self) -> float | None:
        """From its start to its end, or until now; None where the clock was set back in between."""
        seconds = ((self.ended or datetime.now(UTC)) - self.started).total_seconds()
        return seconds if seconds >= 0 else None

    @property
    def config(self) -> Hyperparameters | None:
        """The one configuration that the run stands for, if it does."""
        text = self.tags.get("config")
        return None if text is None else Hyperparameters.of(json.loads(text))


@dataclass(frozen=True, kw_only=True)
class RunQuery:
    """Which runs are wanted, and in which order."""

    role: str = ""
    """Empty for any."""
    other_than: Sequence[str] = ()
    """Roles that are not wanted."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What their tags must be."""
    lacking: str = ""
    """A tag that they must not have."""
    status: str = ""
    experiment: str | None = None
    """Name of the only experiment; "" is the present one, None all."""
    metric: str = ""
    """Sort by it, the least first, and leave out runs without it; empty: by start, the newest first."""
    reverse: bool = False
    """The other way round."""
    limit: int = 0
    """The most runs; 0 for all."""

    def admits(self, record: RunRecord) -> bool:
        """Whether it wants this run, whatever the order, limit and experiment."""
        wanted = {**self.tags, **({"role": self.role} if self.role else {})}
        return (
            wanted.items() <= record.tags.items()
            and record.tags.get("role") not in self.other_than
            and self.lacking not in record.tags
            and self.status in ("", record.status)
            and (not self.metric or self.metric in record.metrics)
        )


@dataclass(frozen=True, kw_only=True)
class ModelToLog:
    """A network with what is needed to use it elsewhere."""

    name: str
    network: nn.Module
    example: Tensor
    """(B, ...) with B > 1: an input to record beside it."""
    description: str
    metrics: Sequence[Metric]
    """What it gave on the test data; kept with the run, the model and the data."""


class Run(Protocol):
    """A run that is open."""

    @property
    def id(self) -> str:
        """The tracker's name for it."""

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
        """Write all of it in one batch. Metrics bear the time `at` (now, if None): the same batch written twice with
        the same time stands once. A name or a description that is given takes the place of the one before."""

    def describe(self, markdown: str) -> None:
        """Set the description that people read first."""

    def text(self, path: str, content: str) -> None:
        """Keep a text file."""

    def figure(self, path: str, figure: Figure) -> None:
        """Keep a picture."""

    def model(self, model: ModelToLog) -> None:
        """Keep a network in a form that loads without this package, and its metrics."""

    def let_go(self) -> None:
        """Leave the run to another process, which goes on with it: it is not ended with this one."""

    def end(self, status: Status, ended: datetime | None = None) -> None:
        """Close the run: now, or at a time that is taken for its beginning if it is before that."""


class Tracker(Protocol):
    """A store of runs, which is waited for when it does not answer; StageError is raised when that takes too long, or
    when a disk is full. As a context manager it ends, as KILLED, every run that it has started and that is still open:
    a signal can come at any moment, even between the start of a run and the first line that knows of it."""

    seconds: float
    """Time spent in the tracker so far."""
    place: str
    """Where the store is, as people are told."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is open."""

    def at_once(self) -> AbstractContextManager[None]:
        """Inside, a store that does not answer is not waited for: TrackerAwayError is raised in a moment."""

    def start(self, start: RunStart, parent: Run | None = None) -> Run:
        """Open a run, below `parent` if there is one."""

    def reopen(self, record: RunRecord, parent: Run | None = None, *, again: bool = False) -> Run:
        """Open a run that exists, and move it below `parent` if one is given. If it is to go on `again`, it is this
        process's and RUNNING from now on."""

    def find(self, role: str = "", *, experiment: str | None = None, **tags: str) -> list[RunRecord]:
        """Runs by role (any, if none is given) and tags, newest first; in one experiment by name ("" is the present
        one), or in all of them.

        Raises InputError for an experiment that does not exist.
        """

    def search(self, query: RunQuery) -> Iterator[RunRecord]:
        """Runs as a query wants them; of many, a page at a time is read.

        Raises InputError for an experiment that does not exist.
        """

    def get(self, run_id: str) -> RunRecord:
        """One run. Raises InputError when there is none of this id."""

    def has(self, run_id: str) -> bool:
        """Whether there is a run of this id."""

    def history(self, run_id: str, metric: str) -> list[float]:
        """All values of a metric in the order of their steps."""

    def read_text(self, run_id: str, path: str) -> str | None:
        """A text that a run has kept, if it has it."""

    def register(self, run: Run, name: str) -> str:
        """Make the network that a run has kept the next version of a registered model; which version it is."""

    def champion(self, name: str) -> RunRecord | None:
        """The run that made the version of a registered model which bears the alias `champion`, if one does."""

    def set_champion(self, name: str, version: str) -> None:
        """Give the alias `champion` to this version."""

    def link(self, run_id: str) -> str:
        """The address of a run's page: in the server, or in a user interface that is started at its usual address."""

    def reference(self, run_id: str) -> str:
        """The same for a description, which people read in a user interface at whatever address."""

    def discard(self, record: RunRecord) -> None:
        """Delete a run that should not be there."""

    def left_open(self) -> list[RunRecord]:
        """Runs that have not ended, of whatever process (its tag is `process`), newest first."""

    def repair(self, gone: str = "") -> int:
        """End the runs that dead processes of this machine left open, those of processes elsewhere that have not been
        heard of for a day, those of `mlflow run` that no stage has come to open for a day, and those of the process
        with the tag `gone`, which is known to be dead; how many there were."""


@contextmanager
def stage_run(tracker: Tracker, start: RunStart, parent: Run | None = None) -> Iterator[Run]:
    """Open the run of a stage and end it as it deserves: FINISHED, FAILED, or KILLED when a person stopped it."""
    run, before = tracker.start(start, parent), tracker.seconds
    try:
        yield run
        run.log(metrics=[Metric("mlflow_seconds", tracker.seconds - before)])
    except (KeyboardInterrupt, SystemExit):
        with suppress(TrackerAwayError, StageError), tracker.at_once():
            run.end("KILLED")
        raise
    except BaseException as error:
        with suppress(TrackerAwayError, StageError), tracker.at_once():
            run.log(tags={"error": hide_secrets(f"{type(error).__name__}: {error}")})
            run.end("FAILED")
        raise
    run.end("FINISHED")


def variant_tags(variant: Variant) -> dict[str, str]:
    """A variant's name, family and origin as tags, by which runs are found, and what they are ranked by."""
    metric = {"metric": variant.metric.name, "unit": variant.metric.unit.symbol}
    tags = {"model": variant.name, "family": variant.family, PAPER: variant.paper, **metric}
    if not variant.foreign:
        return tags
    from pipeline.models.own.recorded import to_text  # with torch, a second to import

    return {**tags, "variant": to_text(variant)}


def variant_params(variant: Variant) -> dict[str, Any]:
    """A variant's name and factors as params, so that the UI can group by each of them."""
    return {"model": variant.name, **variant.params}


def config_tags(hyper: Hyperparameters) -> dict[str, str]:
    """The tags of a run that stands for one configuration; `RunRecord.config` reads them back."""
    return {"config": json.dumps(hyper.as_dict()), "config_hash": hyper.hash}


def param_text(value: Any) -> str:
    """A param as trackers keep it: bools in lower case, as on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def curve(name: str, values: Sequence[float]) -> list[Metric]:
    """One metric with a value for every epoch, counted from 1."""
    return [Metric(name, float(value), epoch) for epoch, value in enumerate(values, start=1)]

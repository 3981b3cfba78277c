"""Tables of a report that does not exist, small enough to be measured in a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pipeline.stages.reproducing.config import ReproduceConfig
from pipeline.stages.reproducing.published import Claim, Protocol, PublishedTable, Row
from pipeline.stages.reproducing.runner import Measure, Measured, TableRunner
from pipeline.stages.reproducing.runners import runner_of
from pipeline.stages.stage import Reporter, Sampling
from pipeline.tracking.port import RunRecord, RunStart, stage_run
from pipeline.training.compute import Compute
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

EVALUATED = Protocol(stage="evaluate", rounds=2)


def table_of(*rows: Row, protocol: Protocol = EVALUATED, **parts: Any) -> PublishedTable:
    """A table with these rows."""
    texts = {"paper": "Wide networks", "authors": "A, B", "title": "Final results", "source": "Table 1"}
    return PublishedTable(**{"id": "007/table-1", **texts, **parts, "protocol": protocol, "rows": rows})


def made_runner(sampling: Sampling, table: PublishedTable, tracker: MemoryTracker, **options: Any) -> TableRunner:
    """Where the table is measured, with one worker."""
    config = ReproduceConfig(sampling=sampling, tables=(), compute=Compute(workers=1), **options)
    return runner_of(config, table, tracker)


def measure(used: TableRunner, reporter: Reporter | None = None) -> list[Measured]:
    """Measure a table below a run of its own."""
    with stage_run(used.tracker, RunStart(name="reproduce", role="reproduce")) as run:
        return used.measure(reporter or Silent(), run)


def measured(
    label: str = "Plain",
    figures: Mapping[str, Measure] | None = None,
    errors_R: Sequence[float] = (),
    row: Row | None = None,
    **tags: str,
) -> Measured:
    """A row with what it gave, of a run that nobody made."""
    row = row or Row(label=label, model="mlp")
    run = RunRecord(
        id=f"run-of-{row.label}",
        name="evaluate",
        status="FINISHED",
        started=datetime(2031, 5, 6, 7, 8, tzinfo=UTC),
        params={},
        tags=tags,
        metrics={},
    )
    return Measured(row=row, run=run, figures=figures or {}, errors_R=errors_R, seconds=60.0)


def claim(expected: str, contrast: Mapping[str, float] | None = None, says: str = "Sharing helps.") -> Claim:
    """A conclusion on `Shared` and `Plain`, or on other rows."""
    weights = contrast or {"Shared": 1, "Plain": -1}
    return Claim(says=says, where="Section 4", contrast=weights, expected=expected)


class Impatient(Silent):
    """A person who interrupts as soon as a training is announced that they do not want."""

    def __init__(self, unwanted: str) -> None:
        self.unwanted = unwanted

    def say(self, line: str) -> None:
        """Interrupt."""
        if self.unwanted in line:
            raise KeyboardInterrupt


@contextmanager
def nothing_trained(tracker: MemoryTracker) -> Iterator[None]:
    """Check that no run is made but those of reproduce itself."""
    before = [run.id for run in tracker.runs if run.tags["role"] != "reproduce"]
    yield
    assert [run.id for run in tracker.runs if run.tags["role"] != "reproduce"] == before

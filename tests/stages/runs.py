"""What stages left in a tracker in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pipeline.stages.stage import StageResult
from pipeline.tracking.memory import MemoryRun, MemoryTracker


def run_of(tracker: MemoryTracker, result: StageResult) -> MemoryRun:
    """The run of a stage."""
    return next(run for run in tracker.runs if run.id == result.run_id)


def runs_with(tracker: MemoryTracker, role: str) -> list[MemoryRun]:
    """All runs of a role, in the order in which they were opened."""
    return [run for run in tracker.runs if run.tags["role"] == role]


def trials_of(tracker: MemoryTracker) -> list[MemoryRun]:
    """The runs of a search's trials by number."""
    return sorted(runs_with(tracker, "trial"), key=lambda run: int(run.tags["trial"]))


def table_of(tracker: MemoryTracker) -> list[tuple[str, str, str | None, dict[tuple[str, int], float]]]:
    """All that a search says of its trials."""
    return [(run.tags["config"], run.status, run.tags.get("read_off"), run.metrics) for run in trials_of(tracker)]


def trained_in(run: MemoryRun) -> Sequence[str]:
    """The names of all replicas that a stage trained, as its chunks.json has them."""
    composition = json.loads(run.texts["chunks.json"])
    assert composition["trained_on"] == run.params["trained_on"]
    assert composition["precision"] == run.params["precision"]
    assert all(chunk["model"] == run.params["model"] for chunk in composition["chunks"])
    return sorted(name for chunk in composition["chunks"] for name in chunk["replicas"])

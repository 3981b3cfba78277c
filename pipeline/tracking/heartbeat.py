"""Which open runs are still worked on.

Of processes of this machine that is known. A process elsewhere says so now and then in the run that it opened first,
and is given up after a day without: clocks may be hours apart, and nobody may be declared dead for that. One that wakes
after all ends its runs as if nothing had been. A run that `mlflow run` made for a stage that never came is nobody's,
and is given up after a day too: environments may take long to be made.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import mlflow
import requests
from mlflow.exceptions import MlflowException

from pipeline.base.processes import is_dead, process_tag
from pipeline.tracking.port import RunRecord
from pipeline.tracking.provenance import is_of_this_project

BEAT_SECONDS = 600.0
GRACE = timedelta(days=1)


def living_tags() -> dict[str, str]:
    """The tags of a run that this process works on."""
    return {"process": process_tag(), "beat": datetime.now(UTC).isoformat(timespec="seconds")}


def abandoned(left_open: Sequence[RunRecord], gone: str = "") -> list[RunRecord]:
    """Those of the open runs whose process is dead, is `gone` as the caller knows, or was not heard of for long."""
    unclaimed = [run for run in left_open if _is_unclaimed(run)]
    by_process: dict[str, list[RunRecord]] = defaultdict(list)
    for run in left_open:
        if process := run.tags.get("process"):
            by_process[process].append(run)
    return unclaimed + [
        run
        for process, runs in by_process.items()
        if process == gone or is_dead(process) or (is_dead(process) is None and _is_silent(runs))
        for run in runs
    ]


def _is_silent(runs: Sequence[RunRecord]) -> bool:
    beats = []
    for run in runs:
        with suppress(KeyError, ValueError):  # older versions gave none, and people can write anything there
            beats.append(datetime.fromisoformat(run.tags["beat"]).astimezone(UTC))
    return bool(beats) and datetime.now(UTC) - max(beats) > GRACE


def _is_unclaimed(run: RunRecord) -> bool:
    """Whether `mlflow run` made it for a stage of this project, which has not come to open it for long."""
    return is_of_this_project(run.tags) and "process" not in run.tags and datetime.now(UTC) - run.started > GRACE


class Heartbeat:
    """Beats in a run until it is stopped."""

    def __init__(self, uri: str, run_id: str) -> None:
        self.run_id = run_id
        self._client = mlflow.MlflowClient(uri)  # its own: that of the stage may be in a hurry
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            with suppress(MlflowException, requests.RequestException):  # the store may be away
                self._client.set_tag(self.run_id, "beat", living_tags()["beat"])

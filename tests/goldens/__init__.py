"""What was measured before the code was rebuilt, by instruction set: results must stay the same to the bit.

The files are written by `python -m tests.goldens.record`, only ever where arithmetic is changed on purpose.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.training.machine import this_machine
from tests.memory import MemoryRun

FOLDER = Path(__file__).parent
MACHINE = ("processor", "cpu_capability", "torch", "torch_build", "trained_on", "search_seconds")
"""Params and tags that depend on the machine."""
HEADLINES = ("cv_validation_error", "final_test_error", "final_test_digit_error")
"""What is kept by itself, to show how far off a result is."""
VARIANTS, TABLES, SEARCH = "variants", "tables", "search"


def golden(name: str) -> dict[str, Any] | None:
    """What was measured with this machine's instruction set and torch; None if nothing was."""
    machine = this_machine()
    path = FOLDER / f"{name}_{machine['cpu_capability'].lower()}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return kept["measured"] if kept["torch"].partition("+")[0] == machine["torch"].partition("+")[0] else None


def keep(name: str, measured: dict[str, Any]) -> None:
    """Write what was measured here; a line for each part."""
    machine = this_machine()
    lines = ",\n".join(f"{json.dumps(part)}: {json.dumps(found, sort_keys=True)}" for part, found in measured.items())
    path = FOLDER / f"{name}_{machine['cpu_capability'].lower()}.json"
    path.write_text(f'{{"torch": {json.dumps(machine["torch"])}, "measured": {{\n{lines}\n}}}}\n')


def results(runs: Iterable[MemoryRun]) -> dict[str, Any]:
    """All losses and errors of these runs, exactly: each run's last values, and one digest of every value."""
    sha, last = hashlib.sha256(), {}
    for run in sorted(runs, key=lambda run: (run.tags["role"], run.name)):
        role = run.tags["role"]
        for (metric, step), value in sorted(run.metrics.items()):
            if is_result(metric):
                sha.update(f"{role} {metric} {step} {value.hex()}\n".encode())
                if metric in HEADLINES:
                    last[f"{role} {metric}"] = value
    return {"last": last, "digest": sha.hexdigest()}


def is_result(metric: str) -> bool:
    """Whether a metric is a loss or an error."""
    return metric.endswith(("loss", "error", "_std", "_min", "_low", "_high")) and "seconds" not in metric


def stored(run: MemoryRun) -> dict[str, dict[str, str]]:
    """The params and tags of a run that say what was done."""
    identity = ("study", "study_id", "trial", "config_from", "dashboard")
    return {
        "params": {name: value for name, value in run.params.items() if name not in MACHINE},
        "tags": {name: value for name, value in run.tags.items() if name not in (*MACHINE, *identity)},
    }


def read_dump(name: str) -> str:
    """The SQL of a database that an earlier version has written."""
    return gzip.decompress((FOLDER / name).read_bytes()).decode()

"""One question as a person asks it of a library: which of two networks is better on scikit-learn's digits?

20 seeds each, 25 epochs, batch 25, Adam at 1e-3. Each library answers in a process of its own, whose whole time counts.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import StageError
from pipeline.reports.tables import Table

SEEDS = 20
PEER_SEEDS = 4
"""Of the peer, whose time for all is extrapolated by the seed: its start does not count."""
PEER = "ictonyx"
PEER_COVERS = "weights and order on one split, by its documentation"
OURS_COVERS = "weights, order, and which samples were held out"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one library took."""

    name: str
    seconds: float
    seeds: int
    """That were trained; where fewer than asked for, the time is extrapolated."""
    covers: str
    said: str


def ask(cache_dir: Path, step: Callable[[str], None]) -> list[Answer]:
    """Let both answer, the peer where it is installed. Raises StageError where one does not."""
    step("which of two networks, variantlab")
    said, seconds = _run("ours", str(cache_dir))
    found = [Answer(name="variantlab", seconds=seconds, seeds=SEEDS, covers=OURS_COVERS, said=said[0])]
    if importlib.util.find_spec(PEER) is not None:
        step(f"which of two networks, {PEER}")
        said, _ = _run("peer", str(PEER_SEEDS))
        spent = float(said[-1]) * SEEDS / PEER_SEEDS
        found.append(Answer(name=PEER, seconds=spent, seeds=PEER_SEEDS, covers=PEER_COVERS, said="-"))
    return found


def _run(module: str, *arguments: str) -> tuple[list[str], float]:
    """The lines that a program of this folder prints, and how long it takes, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-W", "ignore", str(Path(__file__).parent / f"{module}.py"), *arguments]
        started = time.perf_counter()
        done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise StageError(f"every library must answer, but {module}.py failed:\n{done.stderr}")
    return [line for line in done.stdout.splitlines() if line.strip()], seconds


def question_table(answers: list[Answer]) -> Table:
    """Seconds, and what each answer covers."""
    ours = answers[0].seconds
    return Table(
        ["library", "seconds", "times ours", "seeds trained", "its interval covers", "answer"],
        [
            [each.name, f"{each.seconds:.1f}", f"{each.seconds / ours:.1f}", str(each.seeds), each.covers, each.said]
            for each in answers
        ],
    )

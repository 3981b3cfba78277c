"""Measure one cell: all contestants do the same work in turn, round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.cells import Cell
from benchmarks.contestants import Contestant
from benchmarks.work import GEMM_FLOPS, Curves, Task, flops_per_epoch
from pipeline.base.errors import StageError

CHECKED_EPOCHS = 3
"""Up to here losses are compared: later they are so small that two replicas differ by more than the tolerance."""
TOLERANCE = 0.25
"""By which share a contestant's training loss may differ from the plain loop's."""
TARGET_SECONDS = 0.6
"""What a measurement should take at least."""
MAX_EPOCHS = 200

Step = Callable[[str], None]
"""Told what is measured next."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One training, by the wall clock."""

    seconds: float
    """Per epoch and replica."""
    wall: float
    """Seconds that it took in all."""
    curves: Curves


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant that is ready for its rounds."""

    contestant: Contestant
    epochs: int
    """Of a measurement."""
    first: Measurement

    @property
    def name(self) -> str:
        """The contestant's."""
        return self.contestant.name


def measure(contestant: Contestant, epochs: int) -> Measurement:
    """Train for so many epochs."""
    started = time.perf_counter()
    curves = contestant.train(epochs)
    wall = time.perf_counter() - started
    return Measurement(seconds=wall / (epochs * contestant.replicas), wall=wall, curves=curves)


def warm_up(contestant: Contestant, task: Task) -> Entry:
    """Prepare a contestant, let it compile and allocate, and choose how long its measurements take."""
    contestant.prepare(task)
    first = measure(contestant, CHECKED_EPOCHS)
    latest = first if first.wall >= TARGET_SECONDS else measure(contestant, CHECKED_EPOCHS)
    wanted = round(TARGET_SECONDS * CHECKED_EPOCHS / latest.wall)
    return Entry(contestant=contestant, epochs=min(max(wanted, contestant.least_epochs), MAX_EPOCHS), first=latest)


def measure_plain(task: Task, plain: Mapping[int, Contestant]) -> tuple[float, int, int]:
    """The plain loop's seconds per epoch of one replica, the number of threads that was better, and epochs trained."""
    found = []
    for threads, contestant in plain.items():
        contestant.prepare(task)
        first = measure(contestant, 1)
        epochs = min(max(round(TARGET_SECONDS / 2 / first.wall), 2), MAX_EPOCHS)
        found.append((measure(contestant, epochs).seconds, threads, epochs))
    return min(found)


def measure_cell(
    task: Task, plain: Mapping[int, Contestant], others: Sequence[Contestant], *, repeats: int, step: Step
) -> Cell:
    """Measure whoever can train this model, `repeats` times.

    Raises StageError when a contestant's training loss is not that of the plain loop.
    """
    entries = []
    for contestant in plain.values():
        step(contestant.name)
        entries.append(warm_up(contestant, task))
    threads, best = min(zip(plain, entries, strict=True), key=lambda pair: pair[1].first.seconds)
    task = replace(task, threads=threads)
    for contestant in others:
        step(contestant.name)
        if contestant.fits(task):
            entries.append(warm_up(contestant, task))
            _check(task, contestant.name, entries[-1].first.curves, best.first.curves)
    times: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for round_ in range(repeats):
        step(f"round {round_ + 1} of {repeats}")
        start = round_ % len(entries)  # so that nobody always follows the same neighbour
        for entry in entries[start:] + entries[:start]:
            measured = measure(entry.contestant, entry.epochs)
            _check(task, entry.name, measured.curves, best.first.curves)
            times[entry.name].append(measured.seconds)
    return Cell(
        model=task.model,
        batch_size=task.batch_size,
        flops=flops_per_epoch(task),
        plain=tuple(contestant.name for contestant in plain.values()),
        seconds={name: tuple(values) for name, values in times.items()},
    )


def _check(task: Task, name: str, curves: Curves, expected: Curves) -> None:
    """Refuse who does not train, at the last epoch that both have and that tells."""
    epochs = min(CHECKED_EPOCHS, len(curves.loss_E), len(expected.loss_E))
    if not epochs or len(curves.held_out_error_E) != len(curves.loss_E):
        raise StageError(f"{name} must return the loss and the held-out error of each epoch, but returned {curves}")
    loss, reference = curves.loss_E[epochs - 1], expected.loss_E[epochs - 1]
    if not abs(loss - reference) <= TOLERANCE * reference:
        raise StageError(
            f"a training loss must lie within {TOLERANCE:.0%} of the plain loop's {reference:.4f} after epoch "
            f"{epochs}, but that of {name} is {loss:.4f} ({task.model}, batch {task.batch_size}); nothing is "
            "published: correct it, or leave it out with --contestants"
        )


def measure_peak(gemm: Contestant, products: int = 4) -> float:
    """FLOP/s of matrix products in all workers at once."""
    measure(gemm, 1)
    return GEMM_FLOPS / measure(gemm, products).seconds

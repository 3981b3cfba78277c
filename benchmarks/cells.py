"""What was measured, its statistics, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.reports.tables import Table

PLAIN = "plain"
"""In ratios: the better of the plain loops of the same round."""
ABSENT = "-"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Of two contestants, paired by round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model at one batch size."""

    model: str
    batch_size: int
    flops: float
    """Of an epoch of one replica."""
    plain: tuple[str, ...]
    """The contestants that are plain loops."""
    seconds: dict[str, tuple[float, ...]]
    """Contestant -> seconds per epoch and replica, by round."""

    @property
    def better_plain(self) -> str:
        """The plain loop with the better median."""
        return min(self.plain, key=lambda name: median(self.seconds[name]))

    def rounds_of(self, name: str) -> tuple[float, ...]:
        """A contestant's seconds by round; `plain` is the better one of each round."""
        if name == PLAIN:
            return tuple(min(times) for times in zip(*(self.seconds[name] for name in self.plain), strict=True))
        return self.seconds[name]

    def ratio(self, numerator: str, denominator: str) -> Ratio | None:
        """How many times longer the first takes, or None when one of them did not take part."""
        if not {numerator, denominator} <= {PLAIN, *self.seconds}:
            return None
        pairs = zip(self.rounds_of(numerator), self.rounds_of(denominator), strict=True)
        ratios = [above / below for above, below in pairs]
        return Ratio(median=median(ratios), low=min(ratios), high=max(ratios))

    def share_of_peak(self, name: str, peak: float) -> float | None:
        """The part of `peak` (FLOP/s) that a contestant turns into training."""
        return self.flops / (median(self.seconds[name]) * peak) if name in self.seconds else None


def time_table(cells: Sequence[Cell], contestants: Sequence[str]) -> Table:
    """Median milliseconds per epoch of one replica."""
    headers = ["model", "batch", *cells[0].plain, *contestants, "GFLOP"]
    return Table(headers, [_time_row(cell, headers[2:-1]) for cell in cells])


def _time_row(cell: Cell, names: Sequence[str]) -> list[str]:
    times = [f"{1000 * median(cell.seconds[name]):.2f}" if name in cell.seconds else ABSENT for name in names]
    return [f"`{cell.model}`", str(cell.batch_size), *times, f"{cell.flops / 1e9:.2f}"]


def ratio_table(cells: Sequence[Cell], contestants: Sequence[str]) -> Table:
    """How many times longer the better plain loop takes than each contestant."""
    rows = []
    for cell in cells:
        ratios = [_shown(cell.ratio(PLAIN, name)) for name in contestants]
        rows.append([f"`{cell.model}`", str(cell.batch_size), cell.better_plain, *ratios])
    return Table(["model", "batch", "better loop", *(f"{PLAIN} / {name}" for name in contestants)], rows)


def engine_table(cells: Sequence[Cell], columns: Sequence[str], peak: float) -> Table:
    """The engine against jax, and against the speed of matrix products."""
    rows = []
    for cell in cells:
        ratios = [_shown(cell.ratio("jax", name)) for name in columns]
        shares = [_percent(cell.share_of_peak(name, peak)) for name in columns]
        rows.append([f"`{cell.model}`", str(cell.batch_size), *ratios, *shares])
    headers = [f"jax / {name}" for name in columns] + [f"{name}, of peak" for name in columns]
    return Table(["model", "batch", *headers], rows)


def _shown(ratio: Ratio | None) -> str:
    return ABSENT if ratio is None else str(ratio)


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{share:.0%}"


def line(cell: Cell) -> str:
    """A cell in one line, for whoever watches."""
    times = ", ".join(f"{name} {1000 * median(seconds):.1f}" for name, seconds in cell.seconds.items())
    return f"{cell.model}, batch {cell.batch_size}: {times} ms per epoch and replica"

"""Times of day at which runs begin and end.

The clock of a machine can be set back while a run is open, or before another process ends it: a run that this process
has opened lasts as long as a clock says that nobody sets, and none ends before it began.
"""

from __future__ import annotations

import time

CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
"""The one that goes on while the machine sleeps, where there is one."""


def now() -> int:
    """The time of day, in milliseconds as MLflow counts them."""
    return time.time_ns() // 1_000_000


def end_of(began: int) -> int:
    """The end, which is now, of a run that began at this time of day."""
    return max(began, now())


class Span:
    """Time that passes from now on."""

    def __init__(self, began: int) -> None:
        self._began = end_of(began)
        self._since = _elapsed()

    @property
    def end(self) -> int:
        """Now, as a time of day on the clock that showed the beginning."""
        return self._began + int(1000 * (_elapsed() - self._since))


def _elapsed() -> float:
    return time.monotonic() if CLOCK is None else time.clock_gettime(CLOCK)

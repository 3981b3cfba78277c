"""What a search takes, how long it may, and for how much of it nothing trains because it is recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.tracking.port import Tracker


class Clock:
    """Runs from the beginning of one start of a search."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._began, self._tracked_before = time.perf_counter(), tracker.seconds
        self._recording = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.perf_counter() - self._began

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Count what happens inside as recording."""
        started = time.perf_counter()
        yield
        self._recording += time.perf_counter() - started

    def waited(self, seconds: float) -> None:
        """Count seconds in which there was nothing left to train while something was recorded."""
        self._recording += seconds

    @contextmanager
    def training(self) -> Iterator[None]:
        """Do not count what happens inside: the workers train. How long they waited for its end is `waited`."""
        before = self._tracker.seconds
        yield
        self._tracked_before += self._tracker.seconds - before

    @property
    def recorded(self) -> float:
        """Seconds in which recording kept the workers waiting."""
        return self._tracker.seconds - self._tracked_before + self._recording

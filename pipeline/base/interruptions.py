"""Signals that stop this process, and moments in which they have to wait.

An exception that a signal raises in the middle of a write leaves a database locked by the very process that now wants
to note there that it was stopped.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and the end of the terminal or connection."""
_depth = 0
_waiting: int | None = None


def raise_on_signals() -> None:
    """From now on SIGINT raises KeyboardInterrupt, and the others SystemExit with the status that shells give; once.

    A process that `nohup` has started goes on when its terminal is closed.
    """
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _arrive)


@contextmanager
def held() -> Iterator[None]:
    """Let signals wait until what happens inside is done."""
    global _depth, _waiting
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth and _waiting is not None:
            number, _waiting = _waiting, None
            _stop(number)


def _arrive(number: int, _frame: FrameType | None) -> None:
    global _waiting
    if not _depth:
        _stop(number)
    elif _waiting is None:
        _waiting = number


def _stop(number: int) -> None:
    """Stop once: `mlflow run` sends SIGINT and then SIGTERM, which must not disturb the ending of the runs."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)

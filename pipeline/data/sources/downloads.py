"""What torchvision downloads: where it is kept, and what may go wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

DOWNLOAD_TIMEOUT = 5.0
"""Seconds that a silent server is waited for, per connection."""
DOWNLOAD_ERRORS = (RuntimeError, OSError, EOFError, ValueError, AssertionError, HTTPException, ImportError)
"""Whatever torchvision raises for a server, or for files that were cut short."""


def downloads_to(cache_dir: Path) -> Path:
    """The folder in the cache that torchvision downloads to."""
    return cache_dir / "torchvision"


@contextmanager
def socket_timeout() -> Iterator[None]:
    """Inside, no server is waited for longer than `DOWNLOAD_TIMEOUT`."""
    # torchvision opens its addresses without a time limit of its own.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def reason(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__

"""Waiting for what tells nobody when it happens."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 240

Found = TypeVar("Found")


def wait_until(happened: Callable[[], Found], *processes: subprocess.Popen[str]) -> Found:
    """Look until something has happened, and return what was seen; a process that ends before fails the test."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(LOOK_SECONDS)
        for process in processes:
            if process.poll() is not None:
                found = happened()
                assert found, f"the command has ended (status {process.returncode}): {process.communicate()[0]}"
                return found
    return found

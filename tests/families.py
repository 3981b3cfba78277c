"""Processes and what they have started."""

from __future__ import annotations

import psutil


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes that train for a command: it has started one that forks them."""
    return [worker for server in psutil.Process(pid).children() for worker in server.children()]

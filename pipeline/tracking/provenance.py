"""Where a run comes from: the code, the machine and the process."""

from __future__ import annotations

import os
import socket
import subprocess
from functools import cache
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[2]


@cache
def code_tags() -> dict[str, str]:
    """The commit of this code and whether it has uncommitted changes; `unknown` outside a git checkout."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {"git_commit": commit, "git_dirty": str(dirty).lower(), "mlflow.source.git.commit": commit}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def process_tag(pid: int | None = None) -> str:
    """Host, process id and start time: what tells a process from a later one of the same id."""
    process = psutil.Process(pid or os.getpid())
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def is_dead(tag: str) -> bool:
    """Whether the process of this tag ran on this machine and runs no more."""
    host, _, rest = tag.partition(":")
    pid, _, _ = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return process_tag(int(pid)) != tag
    except psutil.NoSuchProcess:
        return True

"""Where a run comes from: the code and its user."""

from __future__ import annotations

import getpass
import os
import subprocess
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]


@cache
def code_tags() -> dict[str, str]:
    """The commit of this code and whether files are changed or new; `unknown` outside a git checkout."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit is None or changes is None:
        return {"git_commit": "unknown", "git_dirty": "unknown"}
    return {"git_commit": commit, "git_dirty": str(bool(changes)).lower(), "mlflow.source.git.commit": commit}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def user_name() -> str:
    """Who runs this; the number of a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

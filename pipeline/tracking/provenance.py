"""Where a run comes from: the code and its user."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pipeline import __version__
from pipeline.base.resources import CHECKOUT

REDIRECTIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables by which git, which sets them for its hooks, would answer for another repository."""


@cache
def code_tags() -> dict[str, str]:
    """The version of this code, its commit, and whether files are changed or new.

    Commit and changes are `unknown` unless the code is in a checkout of its own: an installation, or sources that were
    unpacked inside of another repository, must not pass for that repository's.
    """
    version = {"variantlab_version": __version__}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit is None or changes is None or not _is_own_repository():
        return {**version, "git_commit": "unknown", "git_dirty": "unknown"}
    return {
        **version,
        "git_commit": commit,
        "git_dirty": str(bool(changes)).lower(),
        "mlflow.source.git.commit": commit,
    }


def _is_own_repository() -> bool:
    top = _git("rev-parse", "--show-toplevel")
    return CHECKOUT is not None and top is not None and Path(top).samefile(CHECKOUT)


def _git(*arguments: str) -> str | None:
    if CHECKOUT is None:
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
            env={name: value for name, value in os.environ.items() if name not in REDIRECTIONS},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def is_of_this_project(tags: Mapping[str, str]) -> bool:
    """Whether `mlflow run` made the run with these tags for the project whose code this is."""
    return CHECKOUT is not None and tags.get("mlflow.source.name") == CHECKOUT.as_uri()


def user_name() -> str:
    """Who runs this; the number of a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""Locks between the processes of one person on one machine; the system releases them when a process dies."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from filelock import FileLock

from pipeline.base.errors import InputError


def machine_lock(*name: str) -> FileLock:
    """The lock of this name. It is a file outside the project, so that no database gets litter beside it."""
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir(), f"variantlab-{owner}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat(follow_symlinks=False)
    if hasattr(os, "getuid") and (found.st_uid != owner or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077):
        raise InputError(
            f"locks must be in a folder that nobody else can write to, but {folder} is somebody else's; remove it, or "
            f"set TMPDIR to another place"
        )
    return FileLock(folder / f"{hashlib.sha256('|'.join(name).encode()).hexdigest()[:16]}.lock")

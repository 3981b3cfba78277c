"""Locks between the processes of one person on one machine; the system releases them when a process dies."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from filelock import FileLock


def machine_lock(*name: str) -> FileLock:
    """The lock of this name. It is a file outside the project, so that no database gets litter beside it."""
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir(), f"variantlab-{owner}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return FileLock(folder / f"{hashlib.sha256('|'.join(name).encode()).hexdigest()[:16]}.lock")

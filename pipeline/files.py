"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from pipeline.errors import StoreError

NO_SPACE = ("disk is full", "disk I/O error", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
"""What SQLite, PostgreSQL and the system say when a disk is full; SQLite calls it an I/O error where it needs room for
the memory that processes share."""


def no_space(place: Path | str) -> StoreError:
    """The error for a disk that is full, which names the file, folder or database that was being written."""
    return StoreError(
        "what is found is written down, which needs free space",
        f"the disk is full at {place}",
        "free some and start the same command again: nothing that was finished is lost",
    )


def is_no_space(error: BaseException) -> bool:
    """Whether this error, or one that it came from, says that a disk is full."""
    said = f"{error}" + (f"; {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else "")
    if any(text in said for text in NO_SPACE):
        return True
    before = error.__cause__ or error.__context__
    return before is not None and is_no_space(before)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and put it there at once, so that nobody ever sees a part of it.

    Raises OSError where that is not possible; what was there before then stays.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:  # an interruption leaves nothing beside it either
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """What new files of this process are not allowed, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


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

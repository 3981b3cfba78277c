"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.base.errors import InputError, StoreError

FULL = [number for name in ("ENOSPC", "EDQUOT") if (number := getattr(errno, name, None))]
NO_SPACE = ("disk is full", "disk I/O error", *map(os.strerror, FULL))
"""What SQLite, PostgreSQL and the system say when a disk is full; SQLite calls it an I/O error where it needs room for
the memory that processes share."""


FOLDER = "VARIANTLAB_FOLDER"
"""The variable that names the folder in which a command was given, where that is not the working folder."""
PROBE_BYTES = 1 << 20
"""What has to fit on a disk that is not full."""


def given_path(text: str) -> Path:
    """The file or folder that a person means: what is relative begins where they gave the command, which `mlflow run`
    carries out in the project's folder."""
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # "~somebody" without a home
        raise InputError(f"a path must lead to a file or folder, but got {text}: {error}") from error
    folder = os.environ.get(FOLDER)
    return Path(folder) / path if folder else path


def no_space(place: Path | str) -> StoreError:
    """The error for a disk that is full, which names the file, folder or database that was being written."""
    return StoreError(
        "what is found is written down, which needs free space",
        f"the disk is full at {place}",
        "free some and start the same command again: nothing that was finished is lost",
    )


def full_place(places: Iterable[Path]) -> str:
    """Those of these folders on whose disks there is no room for a file now, or all of them if there is."""
    among = list(dict.fromkeys(places))
    return " or ".join(map(str, [place for place in among if _is_full(place)] or among))


def _is_full(place: Path) -> bool:
    folder = next((each for each in (place, *place.absolute().parents) if each.is_dir()), Path.cwd())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return is_no_space(error)
    return False


def is_no_space(error: BaseException) -> bool:
    """Whether this error, or one that it came from, says that a disk is full."""
    said = f"{error}" + (f"; {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else "")
    if any(text in said for text in NO_SPACE):
        return True
    before = error.__cause__ or error.__context__
    return before is not None and is_no_space(before)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and put it there at once, so that nobody ever sees a part of it.

    Raises OSError, which names the file, where that is not possible; what was there before then stays.
    """
    try:
        _write_whole(path, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_writable(path: Path) -> None:
    """Raise OSError, which names the file, where `write_whole` could not write it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_whole(path: Path, content: bytes) -> None:
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


def writable_folder(path: Path, option: str) -> Path:
    """Make sure that a folder exists and can be written, or raise InputError naming the option that chose it."""
    try:
        path = path.expanduser()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError) as error:  # RuntimeError: "~somebody" without a home
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{option} must be a folder that can be written, but {path}: {reason}") from error

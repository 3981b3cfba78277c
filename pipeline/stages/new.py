"""new: a folder with a small study of one's own to begin with. It trains and logs nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipeline.base.errors import InputError, StageError
from pipeline.base.files import given_path
from pipeline.base.resources import DISTRIBUTION, resource_folder

TEMPLATE = "leaves"


def run(name: str) -> list[tuple[str, str]]:
    """Make the folder; the files that are in it, each with what it is.

    Raises InputError where there is such a folder already, or none can be made.
    """
    template = resource_folder("examples") / TEMPLATE
    if not template.is_dir():
        raise StageError(f"a new study is copied from {template}, but it is not there; install {DISTRIBUTION} again")
    folder = given_path(name)
    if not name.strip() or os.path.lexists(folder):
        raise InputError(f"a new study is a folder that is not there yet, but got {name!r}; choose another name")
    try:
        shutil.copytree(template, folder, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"a new study is a folder that can be made, but {name} cannot: {error.strerror}") from error
    return [(path.name, _first_line(path)) for path in sorted(folder.iterdir())]


def _first_line(path: Path) -> str:
    """What a file says of itself."""
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().strip('#" ')

"""The files that come with the code, wherever it was imported from.

`search_spaces/` and `published/` stand at the top of the project, where people read and edit them. A wheel carries them
inside of this package. Whoever reads them asks here, and need not know whether the code is a checkout's or installed.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

DISTRIBUTION = "variantlab"


def _package() -> Path:
    return Path(str(files("pipeline")))


def _checkout() -> Path | None:
    folder = _package().parent
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):  # none there, or not one that can be read
        return None
    return folder if project.get("name") == DISTRIBUTION else None


CHECKOUT = _checkout()
"""The folder of the project whose code this is; None where the package is installed without it."""


def resource_folder(name: str) -> Path:
    """The folder with the files of this name.

    Nothing is said of whether it is there: an installation from which files were lost has none.
    """
    installed = _package() / name
    return CHECKOUT / name if CHECKOUT is not None and not installed.is_dir() else installed

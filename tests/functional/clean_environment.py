"""An environment with what a list of requirements needs, and nothing else."""

from __future__ import annotations

import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement


def clean_environment(folder: Path, requirements: Iterable[str]) -> Path:
    """Make it from what is installed here, by links; the folder of its programs.

    It cannot import anything else. Raises AssertionError for a requirement that is not installed here.
    """
    venv.create(folder)
    [packages] = folder.glob("lib/python*/site-packages")
    for name in _closure(requirements):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(found.locate_file(top))))
        for script in found.entry_points.select(group="console_scripts"):
            _write_program(folder / "bin" / script.name, script.module, script.attr)
    return folder / "bin"


def _write_program(path: Path, module: str, function: str) -> None:
    path.write_text(
        f"#!{path.parent / 'python'}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    path.chmod(0o755)


def _closure(requirements: Iterable[str]) -> set[str]:
    """The names of all distributions that they need, however far down."""
    names: set[str] = set()
    left = [Requirement(line) for line in requirements]
    while left:
        wanted = left.pop()
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            found = distribution(wanted.name)
            assert wanted.specifier.contains(found.version, prereleases=True), f"{wanted}, not {found.version}"
            if found.name not in names:
                names.add(found.name)
                left += [Requirement(line) for line in found.requires or ()]
    return names

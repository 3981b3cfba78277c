"""The page of results: written whole or not at all, and what a person noted on it stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.machine import Hardware
from pipeline.reports.tables import Table

RESULTS = Path(__file__).parent / "results"
NOTES = "## Notes"
NO_NOTES = f"{NOTES}\n\nNone yet.\n"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what stands below it."""

    title: str
    tables: Sequence[Table] = ()
    text: str = ""
    """Whole lines."""
    picture: Figure | None = None

    def markdown(self, stem: str = "page") -> str:
        """The section: its tables, its picture, which is a file of a page of this name, and its text."""
        picture = [] if self.picture is None else [f"![{self.title}]({self.file(stem)})\n"]
        return "\n".join([f"## {self.title}\n", *(table.markdown() for table in self.tables), *picture, self.text])

    def file(self, stem: str) -> str:
        """The name of the picture."""
        return f"{stem}-{'-'.join(self.title.lower().split())}.png"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One run of the benchmark."""

    day: date
    hardware: Hardware
    versions: dict[str, str]
    sections: Sequence[Section]

    @property
    def default_path(self) -> Path:
        """The file that is named after the day and the machine."""
        return RESULTS / f"{self.day.isoformat()}-{self.hardware.slug}.md"

    def markdown(self, stem: str = "") -> str:
        """All but the notes, for a file of this name."""
        stem = stem or self.default_path.stem
        facts = {"date": self.day.isoformat(), **self.hardware.facts(), **self.versions}
        head = f"# Benchmark, {self.day.isoformat()}, {self.hardware.title}\n"
        table = Table(["what", "which"], list(facts.items())).markdown()
        return "\n".join([head, table, *(section.markdown(stem) for section in self.sections)])

    def write(self, path: Path) -> None:
        """Write the page and its pictures, with the notes that the file already holds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for section in self.sections:
            if section.picture is not None:
                section.picture.savefig(path.parent / section.file(path.stem), dpi=100)
        write_whole(path, f"{self.markdown(path.stem)}\n{kept_notes(path)}")


def kept_notes(path: Path) -> str:
    """The notes of an existing page, from their heading to the end of the file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return "\n".join(lines[lines.index(NOTES) :]) + "\n" if NOTES in lines else NO_NOTES


def write_whole(path: Path, text: str) -> None:
    """Replace a file at once."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp's files are their owner's alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

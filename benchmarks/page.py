"""The page of results: written whole or not at all, and what a person noted on it stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

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

    def markdown(self) -> str:
        """The section, its tables before its text."""
        return "\n".join([f"## {self.title}\n", *(table.markdown() for table in self.tables), self.text])


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

    def markdown(self) -> str:
        """All but the notes."""
        facts = {"date": self.day.isoformat(), **self.hardware.facts(), **self.versions}
        head = f"# Benchmark, {self.day.isoformat()}, {self.hardware.title}\n"
        table = Table(["what", "which"], list(facts.items())).markdown()
        return "\n".join([head, table, *(section.markdown() for section in self.sections)])

    def write(self, path: Path) -> None:
        """Write the page, with the notes that the file already holds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{self.markdown()}\n{kept_notes(path)}")


def kept_notes(path: Path) -> str:
    """The notes of an existing page, from their heading to the end of the file."""
    lines = path.read_text().splitlines() if path.exists() else []
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

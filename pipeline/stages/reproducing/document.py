"""All reproduced tables as one Markdown page, with where their figures come from."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from pipeline.base.durations import show_seconds
from pipeline.reports.tables import Table
from pipeline.stages.reproducing.cells import (
    AGREES,
    DIFFERS,
    NO_SPREAD,
    NOT_TESTED,
    cell_table,
    claim_table,
    counted,
    outcome,
)
from pipeline.stages.reproducing.config import FULL, MEASURE, ReproduceConfig
from pipeline.stages.reproducing.reproduced import Reproduced
from pipeline.training.machine import arithmetic, processor

CAPTIONS = {
    "figures": "What the report prints, and what we measure:",
    "experiments": "What a differing figure can come from; each line changes one thing that the report leaves open:",
    "conclusions": "What the report concludes, and what paired rounds say to it:",
}
CONFIRMED = ("holds", "not refuted")
PACKAGES = ("torch", "numpy", "optuna", "mlflow")


def overview(reproduced: Sequence[Reproduced]) -> Table:
    """A line for each table."""
    return Table(
        [
            "table",
            "what",
            "figures",
            "agree",
            "differ",
            "no spread given",
            "conclusions",
            "hold",
            "protocol",
            "one core",
        ],
        [
            [
                each.table.id,
                each.table.title,
                len(each.cells),
                each.count(AGREES),
                each.count(DIFFERS),
                each.count(NO_SPREAD),
                len(each.judged),
                each.outcomes()["holds"] + each.outcomes()["not refuted"],
                each.protocol,
                show_seconds(each.seconds),
            ]
            for each in reproduced
        ],
    )


def document(reproduced: Sequence[Reproduced], notes: Sequence[str]) -> str:
    """The page: an overview, how to read it, each table with its conclusions and notes, and where it all comes from."""
    parts = [
        "# The reports' tables beside ours\n",
        f"Made by `{_command(reproduced[0].runner.config)}`; not edited by hand. What a report prints is read from "
        "`published/*.yaml`.\n",
        overview(reproduced).markdown(),
        _reduced(reproduced),
        *(f"{note}\n" for note in notes),
        _differing(reproduced),
        _refuted(reproduced),
        *(_section(each) for each in reproduced),
        _provenance(reproduced),
    ]
    return "\n".join(parts)


def _command(config: ReproduceConfig) -> str:
    """What gives the same page where the same data are."""
    options = {
        "rounds": (config.rounds, 0),
        "scale": (config.scale, FULL),
        "missing": (config.missing, MEASURE),
        "seed": (config.sampling.seed, 0),
    }
    given = [f"--{name} {value}" for name, (value, usual) in options.items() if value != usual]
    return " ".join(["variantlab reproduce", *config.tables, *given])


def _reduced(reproduced: Sequence[Reproduced]) -> str:
    """What was measured less than the reports do."""
    lines = [f"- {one.table.id}: {'; '.join(one.reductions)}" for one in reproduced if one.reductions]
    return "\n".join(["Reduced, for the time that it takes:\n", *lines, ""]) if lines else ""


def _differing(reproduced: Sequence[Reproduced]) -> str:
    agreeing: dict[object, dict[str, None]] = defaultdict(dict)
    for tried in (cell for one in reproduced for cell in one.tried if cell.agreement == AGREES):
        agreeing[tried.is_about][tried.measured.row.tries] = None
    rows = []
    for one in reproduced:
        for cell in (cell for cell in one.cells if cell.agreement == DIFFERS):
            ours, tries = cell_table([cell]).rows[0], "; ".join(agreeing[cell.is_about])
            rows.append([one.table.id, *ours[:4], ours[5], tries or "nothing that was tried"])
    if not rows:
        return ""
    titles = ["table", "row", "figure", "report", "variantlab", "in standard errors", "agrees with"]
    text = "Figures that differ, and what agrees with them of the things that the report leaves open:"
    return f"## What differs\n\n{text}\n\n{Table(titles, rows).markdown()}"


def _refuted(reproduced: Sequence[Reproduced]) -> str:
    rows = [
        [one.table.id, *row]
        for one in reproduced
        for (claim, verdict), row in zip(one.judged, claim_table(one.judged).rows, strict=True)
        if outcome(claim, verdict) not in (*CONFIRMED, NOT_TESTED)
    ]
    if not rows:
        return ""
    text = "What the reports conclude, and paired tests do not confirm:"
    table = Table(["table", *claim_table([]).headers], rows)
    return f"## What does not hold\n\n{text}\n\n{table.markdown()}"


def _section(each: Reproduced) -> str:
    table = each.table
    lines = [
        f"## {table.id}: {table.title}\n",
        f"{table.paper}; {table.source}. {_capital(each.protocol)}; "
        f"{show_seconds(each.seconds)} on one core. {_capital(counted(each.cells))}.\n",
        *(f"{CAPTIONS[name]}\n\n{found.markdown()}" for name, found in each.tables.items()),
        *(f"- {note}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _provenance(reproduced: Sequence[Reproduced]) -> str:
    commits = sorted({_commit(run.tags) for one in reproduced for _, run in one.sources})
    data = sorted(
        {
            f"{splits.label}: `{splits.digest}`"
            for one in reproduced
            for splits in (one.runner.splits(row) for row in one.runner.rows)
        }
    )
    rows = [
        [one.table.id, label, run.id, _commit(run.tags), f"{run.started:%Y-%m-%d %H:%M}"]
        for one in reproduced
        for label, run in one.sources
    ]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "## Where the figures come from\n",
            f"- Code: {', '.join(f'`{commit}`' for commit in commits)}",
            f"- Python {platform.python_version()}, {packages}",
            f"- Machine: {processor()}, {os.cpu_count()} cores",
            *(f"- Computed with {way}" for way in _ways(reproduced)),
            f"- Seed: {reproduced[0].runner.config.sampling.seed}; data (SHA-256 of all samples):",
            *(f"  - {line}" for line in data),
            "",
            Table(["table", "row", "run", "code", "began (UTC)"], rows).markdown(),
        ]
    )


def _ways(reproduced: Sequence[Reproduced]) -> list[str]:
    """The instruction sets and versions of torch of the runs that say so."""
    return sorted({arithmetic(run.tags) for one in reproduced for _, run in one.sources} - {""})


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _commit(tags: Mapping[str, str]) -> str:
    """Which code a run was made by: its commit, or of an installation the version."""
    number = tags.get("variantlab_version")
    if number and tags.get("git_commit") == "unknown":
        return f"version {number}"
    dirty = " with changes" if tags.get("git_dirty") == "true" else ""
    return f"{tags.get('git_commit', 'unknown')[:12]}{dirty}"

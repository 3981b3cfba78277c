"""A verdict as people take it home: tables in all their forms, pictures as PNG and SVG, and one page of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.reports.page import Section, html_page
from pipeline.reports.tables import Table
from pipeline.stages.comparing.pictures import Picture
from pipeline.stages.stage import StageResult
from pipeline.tracking.port import Run


def log_page(run: Run, title: str, result: StageResult, tables: Mapping[str, Table], shown: Sequence[Picture]) -> None:
    """Keep tables by name, pictures, and the page `report.html` that needs nothing else."""
    for name, table in tables.items():
        for suffix, text in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
            run.text(f"{name}.{suffix}", text)
    for picture in shown:
        for suffix in ("png", "svg"):
            run.figure(f"{picture.name}.{suffix}", picture.figure)
    sections = [
        Section(heading="In short", text=[result.headline]),
        *(Section(heading=name.capitalize(), table=table) for name, table in tables.items()),
        *(Section(heading=each.title, figure=each.figure, caption=each.caption) for each in shown),
        Section(heading="How to read this", text=result.notes),
    ]
    run.text("report.html", html_page(title, sections))

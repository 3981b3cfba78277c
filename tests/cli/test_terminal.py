"""What a person at a terminal sees, and what a file or a program gets instead."""

from __future__ import annotations

import io
import sys

import pytest

from pipeline.cli.terminal import Terminal, show_next
from pipeline.reports.tables import Table
from pipeline.stages.stage import Answer

ANSWER = Answer(
    headline="mlp_ws_al has the least mean test error, 7.69 ± 1.25 %, of 8 variants",
    table=Table(["model", "test error", "options"], [["mlp_ws_al", "7.69 ± 1.25 %", "nodes, layers, dropout"]]),
    notes=["The intervals are those of the means, and differences are paired."],
)
NEXT = [("variantlab evaluate --model mlp_ws_al", "measure it on test digits"), ("variantlab ui", "look at the runs")]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", stream)
    Terminal().show(ANSWER)
    show_next(NEXT)
    return stream.getvalue()


@pytest.mark.parametrize("columns", [40, 50, 60, 80])
def test_results_are_laid_out_to_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    text = shown(Screen(), monkeypatch, columns)
    results, _, commands = text.partition("Next:")
    assert max(map(len, results.splitlines())) <= columns
    assert "7.69 ± 1.25 %" in results
    for command, purpose in NEXT:  # a command can be copied as one line, however long it is
        assert any(line.startswith(f"  {command}") for line in commands.splitlines())
        assert f"# {purpose}" in commands


def test_what_is_no_terminal_gets_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(io.StringIO(), monkeypatch, 40)
    assert ANSWER.table.markdown() in text
    assert ANSWER.headline in text.splitlines()
    assert f"  {ANSWER.notes[0]}" in text.splitlines()

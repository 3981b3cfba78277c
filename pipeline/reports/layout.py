"""Tables and texts laid out to the width of a terminal: lines end between words, and no word or figure is left out.

A table that is too wide as Markdown has cells of several lines; where even their longest words do not fit beside each
other, it is a block of lines for each row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pipeline.reports.tables import Table

Part = str | Table
"""Of what is shown: a text, or a table."""
LONGEST_FIGURE = 24
TALLEST = 8
"""Lines of a row beyond which a block is easier to read."""


def markdown(parts: Sequence[Part]) -> str:
    """All parts as they are for files and programs, with an empty line between them."""
    return "\n\n".join((part if isinstance(part, str) else part.markdown()).strip("\n") for part in parts)


def fit(parts: Sequence[Part], width: int) -> str:
    """The same for a terminal with so many columns."""
    return "\n\n".join(fit_text(part, width) if isinstance(part, str) else fit_table(part, width) for part in parts)


def fit_text(text: str, width: int) -> str:
    """Lines that are too long go on below, as indented as they are; other line ends within prose give way to them."""
    paragraphs = []
    for paragraph in text.strip("\n").split("\n\n"):
        lines = paragraph.split("\n")
        if any(len(line) > width for line in lines) and not any(line.startswith(" ") for line in lines):
            lines = [" ".join(lines)]
        paragraphs.append("\n".join(_hanging(line, width) for line in lines))
    return "\n\n".join(paragraphs)


def fit_table(table: Table, width: int) -> str:
    """As Markdown if that fits, else with cells of several lines, or a block for each row."""
    plain = table.markdown().rstrip("\n")
    if plain.find("\n") <= width:
        return plain
    texts = [[" ".join(str(cell).split()) for cell in row] for row in (table.headers, *table.rows)]
    widths = _column_widths(texts, width)
    rows = [] if widths is None else [_cells(row, widths) for row in texts]
    if widths is None or max(len(cells[0]) for cells in rows) > TALLEST:
        return _blocks(texts[0], texts[1:], width)
    rule = "|" + "|".join("-" * (each + 2) for each in widths) + "|"
    lines = [[f"| {' | '.join(line)} |" for line in zip(*cells, strict=True)] for cells in rows]
    # Where a first cell goes on below, that alone does not tell where the next row begins.
    between = [rule] if any(cells[0][1].strip() for cells in rows[1:] if len(cells[0]) > 1) else []
    body = [line for each in lines[1:] for line in (*between, *each)][len(between) :]
    return "\n".join([*lines[0], rule, *body])


def _column_widths(texts: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """What each column has of the whole width; None where the longest words do not fit beside each other."""
    columns = list(zip(*texts, strict=True))
    widths = [max(len(word) for cell in column for word in _words(cell)) for column in columns]
    wanted = [max(map(len, column)) for column in columns]
    free = width - 1 - sum(each + 3 for each in widths)
    if free < 0:
        return None
    while free and widths != wanted:  # the column that lacks most is the next to grow
        lacking = [want - has for want, has in zip(wanted, widths, strict=True)]
        widths[lacking.index(max(lacking))] += 1
        free -= 1
    return widths


def _words(cell: str) -> list[str]:
    """What is not broken: words, and figures as a whole."""
    return [cell] if _is_figure(cell) else cell.split()


def _is_figure(cell: str) -> bool:
    """Whether it is one number or several that belong together, such as `[7.10, 8.27]`."""
    return len(cell) <= LONGEST_FIGURE and not any(mark.isalpha() for mark in cell)


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    """The lines of each cell of a row, as many for each and as wide as its column."""
    wrapped = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, wrapped))
    return [
        [line.ljust(width) for line in (*lines, *[""] * (height - len(lines)))]
        for lines, width in zip(wrapped, widths, strict=True)
    ]


def _blocks(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """A line for each cell, with its header before it, and more where it is too long."""
    longest = max((len(word) for header in headers for word in _words(header)), default=0)
    margin = max(longest, min(max(map(len, headers)), width // 3))
    blocks = []
    for row in rows:
        lines = []
        for header, cell in zip(headers, row, strict=True):
            room = max(1, width - margin - 2)
            names, values = _wrap(header, margin), _wrap(cell, room)
            height = max(len(names), len(values))
            names, values = ([*each, *[""] * (height - len(each))] for each in (names, values))
            lines += [f"{name.ljust(margin)}  {value}".rstrip() for name, value in zip(names, values, strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks or ["\n".join(_wrap(" ".join(headers), width))])


def _hanging(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return "\n".join(_wrap(line.strip(), width - len(indent), indent)) if len(line) > width else line


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    if _is_figure(text):
        return [indent + text]
    lines = textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False)
    return [indent + line for line in lines] or [""]

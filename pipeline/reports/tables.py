"""Tables that are the same at the terminal, in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from pipeline.data.dataset import Splits


@dataclass(frozen=True)
class Table:
    """Headers and rows of cells; cells are shown with `str`."""

    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> str:
        """A Markdown table, columns aligned so that it reads well as plain text too."""
        texts = [[str(cell) for cell in row] for row in (self.headers, *self.rows)]
        widths = [max(len(row[column]) for row in texts) for column in range(len(self.headers))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in texts
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([lines[0], rule, *lines[1:]]) + "\n"

    def csv(self) -> str:
        """Comma-separated values with a header line."""
        buffer = io.StringIO()
        rows = [self.headers, *self.rows]
        unmarked = any("\r" in str(cell) for row in rows for cell in row)  # the writer does not quote it by itself
        writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL if unmarked else csv.QUOTE_MINIMAL)
        writer.writerows(rows)
        return buffer.getvalue()

    def latex(self) -> str:
        """A LaTeX tabular with the rules of the package booktabs, text escaped."""
        texts = [[str(cell) for cell in row] for row in self.rows]
        return tabulate(texts, list(self.headers), tablefmt="latex_booktabs", disable_numparse=True) + "\n"


def class_table(splits: Splits, classes: Sequence[str]) -> Table:
    """How many items of each class, by their labels 0, 1, ..., are in the two parts of a data set."""
    labels = {"train": splits.train.labels, "test": splits.test.labels}
    counts = {name: np.bincount(values.astype(np.int64), minlength=len(classes)) for name, values in labels.items()}
    return Table(["pool", *classes, "all"], [[name, *row.tolist(), int(row.sum())] for name, row in counts.items()])

"""A table with all that came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.reports.contrasts import Verdict
from pipeline.reports.tables import Table
from pipeline.stages.comparing.evaluations import Evaluation
from pipeline.stages.reproducing.cells import (
    Cell,
    cell_table,
    cells_of,
    claim_table,
    judge_claims,
    outcome,
)
from pipeline.stages.reproducing.published import Claim, PublishedTable
from pipeline.stages.reproducing.runner import Measured, TableRunner
from pipeline.tracking.port import RunRecord


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """A published table beside ours."""

    runner: TableRunner
    measured: Sequence[Measured]

    @property
    def table(self) -> PublishedTable:
        """What the report prints."""
        return self.runner.table

    @cached_property
    def cells(self) -> list[Cell]:
        """All figures that it prints."""
        return cells_of(self.table, self.measured[: len(self.table.rows)])

    @cached_property
    def tried(self) -> list[Cell]:
        """Those of the experiments."""
        return cells_of(self.table, self.measured[len(self.table.rows) :])

    @cached_property
    def judged(self) -> list[tuple[Claim, Verdict | None]]:
        """Its conclusions, with what our rounds say."""
        return judge_claims(self.table.claims, self.measured, self.runner.overlap)

    @property
    def tables(self) -> dict[str, Table]:
        """Of figures, of experiments and of conclusions, where there are any."""
        return {
            **({"figures": cell_table(self.cells)} if self.cells else {}),
            **({"experiments": cell_table(self.tried)} if self.tried else {}),
            **({"conclusions": claim_table(self.judged)} if self.judged else {}),
        }

    @property
    def trainings(self) -> list[Measured]:
        """One row for each run that rows are read off."""
        first: dict[str, Measured] = {}
        for each in self.measured:
            if each.run is not None:
                first.setdefault(each.run.id, each)
        return list(first.values())

    @property
    def sources(self) -> list[tuple[str, RunRecord]]:
        """The runs, each with the label of the first row that is read off it."""
        return [(each.row.label, each.run) for each in self.trainings if each.run is not None]

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """By the label of the first row that is read off each."""
        return {each.row.label: each.evaluation for each in self.trainings if each.evaluation is not None}

    @property
    def seconds(self) -> float:
        """What its trainings took, one after the other on one worker; the shorter ones of a path are read off."""
        longest: dict[object, float] = {}
        for each in self.trainings:
            path = each.row.model, each.row.hyper.path, tuple(each.row.data.items()), each.row.trials
            longest[path] = max(longest.get(path, 0.0), each.seconds)
        return sum(longest.values())

    @property
    def is_reduced(self) -> bool:
        """Whether there were fewer rounds than the report has."""
        return self.runner.rounds < self.table.protocol.rounds

    @property
    def left_out(self) -> list[str]:
        """The rows that were not measured."""
        return [each.row.label for each in self.measured[: len(self.table.rows)] if each.run is None]

    @property
    def reductions(self) -> list[str]:
        """What of the report's protocol is missing."""
        rounds = f"{self.runner.rounds} of {self.table.protocol.rounds} rounds"
        rows = f"not measured: {', '.join(self.left_out)}"
        return [text for text, missing in ((rounds, self.is_reduced), (rows, self.left_out)) if missing]

    @property
    def protocol(self) -> str:
        """How it was measured, in words."""
        protocol = self.table.protocol
        parts = [f"{self.runner.rounds} round{'s' * (self.runner.rounds > 1)}"]
        if self.is_reduced:
            parts[0] += f" (reduced: the report has {protocol.rounds})"
        if protocol.folds:
            parts.append(f"{protocol.folds} folds")
        if protocol.sampler:
            parts.append(f"{protocol.sampler} search")
        parts.append(self.runner.splits(self.table.rows[0]).label)
        if self.left_out:
            parts.append(f"{len(self.left_out)} of {len(self.table.rows)} rows not measured")
        return ", ".join(parts)

    def count(self, verdict: str) -> int:
        """Cells with a verdict."""
        return Counter(cell.agreement for cell in self.cells)[verdict]

    def outcomes(self) -> Counter[str]:
        """Conclusions by whether they hold."""
        return Counter(outcome(claim, verdict) for claim, verdict in self.judged)

"""What is to be reproduced, and on which samples each table was made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.stages.reproducing.published import PublishedTable, Row, load_published
from pipeline.stages.stage import Sampling
from pipeline.training.compute import Compute

ALL_TABLES = "all"
MAX_ROUNDS = 1000
WHOLE = re.compile(r"[0-9]{1,9}")
FULL = "full"
SCALES = {FULL: 0, "quick": 3}
"""Scale -> the most rounds of it; 0 for as many as the report has."""
MEASURE, LEAVE = MISSING = ("measure", "leave")


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Which tables, and how faithfully."""

    sampling: Sampling
    """Its data set stands for all tables that name none; options of the data are those of each table."""
    tables: Sequence[str]
    """Ids such as `000/table-2`, or `all`; `000/table-2:5` for 5 rounds of it."""
    rounds: int = 0
    """Rounds instead of the report's; 0 for the report's."""
    scale: str = FULL
    """`full`, or `quick`: three rounds at most."""
    missing: str = MEASURE
    """Whether what was not measured before is measured now, or left out."""
    storage: str = "sqlite:///optuna.db"
    """Of the studies of tables that show what a search chose."""
    output: str = ""
    """A Markdown file to write all of it to; empty for none."""
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UnknownNameError("scale", self.scale, SCALES)
        if self.missing not in MISSING:
            raise UnknownNameError("--missing", self.missing, MISSING)
        if not 0 <= self.rounds <= MAX_ROUNDS:
            raise InputError(f"--rounds must be between 0 (the report's) and {MAX_ROUNDS}, but got {self.rounds}")

    @property
    def chosen(self) -> list[PublishedTable]:
        """The tables. Raises UnknownNameError for one that there is not."""
        known = _published()
        return [known[name] for name in self._rounds]

    @cached_property
    def _rounds(self) -> dict[str, int]:
        """Table -> rounds asked for it, 0 for the report's; what is said of one table beats what is said of all."""
        known = list(_published())
        asked: dict[str, int] = {}
        for part in (part.strip() for text in self.tables for part in text.split(",")):
            name, colon, rounds = part.partition(":")
            if name not in (*known, ALL_TABLES):
                raise UnknownNameError("table", name, [*known, ALL_TABLES])
            if colon and not (WHOLE.fullmatch(rounds) and 1 <= int(rounds) <= MAX_ROUNDS):
                raise InputError(f"the rounds of a table are a number from 1 to {MAX_ROUNDS}, but got {part!r}")
            for each in known if name == ALL_TABLES else [name]:
                if each not in asked or (colon and name != ALL_TABLES):
                    asked[each] = int(rounds) if colon else self.rounds
        return asked

    def rounds_of(self, table: PublishedTable) -> int:
        """How many rounds are run for a table."""
        wanted = self._rounds.get(table.id, self.rounds) or table.protocol.rounds
        return min(wanted, SCALES[self.scale] or wanted)

    def sampling_of(self, table: PublishedTable, row: Row) -> Sampling:
        """The data of a row."""
        protocol = table.protocol
        data = replace(self.sampling.data, options={**protocol.data, **row.data})
        if protocol.dataset:
            data = replace(data, dataset=protocol.dataset, data_dir="")
        return replace(self.sampling, data=data)


@cache
def _published() -> Mapping[str, PublishedTable]:
    """All tables by id: read once, since that takes a part of a second."""
    return load_published()

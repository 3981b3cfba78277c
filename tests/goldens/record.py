"""Write the files of this folder anew, for this machine's instruction set (with `tables`: those that take longest)."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import sys
import tempfile
from pathlib import Path

import torch

from pipeline.stages import search
from tests.goldens import FOLDER, SEARCH, TABLES, VARIANTS, keep
from tests.goldens.runs import QUICK_TABLES, all_variants, begun_study, quick_table, trials_of, whole_search
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

STUDY = "study.sql.gz"


def record(wanted: list[str]) -> None:
    """Measure, and keep it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if VARIANTS in wanted:
            keep(VARIANTS, all_variants(folder))
        if SEARCH in wanted:
            tracker = MemoryTracker()
            search.run(begun_study(folder, 8), tracker, Silent())
            whole = trials_of(tracker)
            (folder / "optuna.db").unlink()
            search.run(begun_study(folder, 4), MemoryTracker(), Silent())
            with contextlib.closing(sqlite3.connect(folder / "optuna.db")) as database:
                dump = "\n".join(database.iterdump())
            if not (FOLDER / STUDY).exists():
                (FOLDER / STUDY).write_bytes(gzip.compress(dump.encode(), mtime=0))
            keep(SEARCH, {"begun": whole, "whole": whole_search(folder)})
        if TABLES in wanted:
            keep(TABLES, {table: quick_table(folder, table, rounds) for table, rounds in QUICK_TABLES.items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    record(sys.argv[1:] or [VARIANTS, SEARCH])

"""What earlier versions have measured and stored: the same to the bit, and still of use.

The variants are in `tests/stages/test_every_variant.py`. With VARIANTLAB_GOLDENS=full a search of the usual size and a
table of each report are compared as well, which takes half an hour.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from pipeline.stages import search
from pipeline.stages.searching.config import default_space
from pipeline.tasks.registry import variants
from pipeline.training.machine import arithmetic, this_machine
from pipeline.tuning.space_file import load_space
from tests.goldens import FOLDER, SEARCH, TABLES, golden, read_dump
from tests.goldens.record import STUDY
from tests.goldens.runs import QUICK_TABLES, begun_study, quick_table, trials_of, whole_search
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

FULL = pytest.mark.skipif(os.environ.get("VARIANTLAB_GOLDENS") != "full", reason="VARIANTLAB_GOLDENS is not full")


def known(name: str) -> dict[str, object]:
    """What was measured here; skips, saying so, where nothing was."""
    found = golden(name)
    if found is None:
        pytest.skip(f"nothing was measured with {arithmetic(this_machine())}")
    return found


def test_a_study_that_an_earlier_version_has_begun_goes_on(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "optuna.db")) as database:
        database.executescript(read_dump(STUDY))
    tracker = MemoryTracker()
    search.run(begun_study(tmp_path, 8), tracker, Silent())
    found = trials_of(tracker)
    kept = json.loads((FOLDER / "search_avx512.json").read_text())["measured"]["begun"]
    assert found.keys() == kept.keys()
    begun = [str(number) for number in range(4)]
    assert [found[number] for number in begun] == [kept[number] for number in begun]  # whatever machine this is
    if (golden(SEARCH) or {}).get("begun") == kept:  # it was begun with the same instructions
        assert found == kept


def test_search_spaces_have_the_digests_by_which_studies_are_named() -> None:
    for key, digest in json.loads((FOLDER / "space_digests.json").read_text()).items():
        name, sampler = key.split()
        variant = variants()[name]
        space = load_space(variant, default_space(variant, sampler), complete=sampler != "tpe")
        assert space.digest.startswith(digest), key


@FULL
def test_a_search_of_the_usual_size_has_the_same_trials(tmp_path: Path) -> None:
    assert whole_search(tmp_path) == known(SEARCH)["whole"]


@FULL
@pytest.mark.parametrize("table", QUICK_TABLES)
def test_a_table_is_reproduced_to_the_bit(tmp_path: Path, table: str) -> None:
    assert quick_table(tmp_path, table, QUICK_TABLES[table]) == known(TABLES)[table]

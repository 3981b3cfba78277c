"""Names that look like paths, in options, search spaces and runs, lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.faults.searches import SEARCH, said
from tests.functional.conftest import Workplace

HOSTILE = "../../hostile"
EVALUATE = ("variantlab", "evaluate", "--model=mlp_ws_al", "--rounds=2", "--samples=100")


@pytest.fixture
def workplace(tmp_path: Path, furnished: Callable[[Path], Workplace]) -> Workplace:
    """Two folders below one of which nothing but it may be written."""
    folder = tmp_path / "outer" / "inner"
    folder.mkdir(parents=True)
    return furnished(folder)


def written_outside(workplace: Workplace) -> list[Path]:
    outer = workplace.folder.parent
    return [path for path in outer.parent.rglob("*") if not path.is_relative_to(workplace.folder) and path != outer]


def test_a_study_and_a_run_may_bear_them(workplace: Workplace) -> None:
    code, output = workplace.run(*SEARCH, "--n-trials=2", f"--study={HOSTILE}")
    assert code == 0, output
    client = mlflow.MlflowClient(workplace.tracking_uri)
    [search] = [run for run in workplace.runs() if run.data.tags["role"] == "search"]
    for tag in ("mlflow.runName", "study", "study_id", "dashboard", "data", "family", "report"):
        client.set_tag(search.info.run_id, tag, HOSTILE)
    code, output = workplace.run(*EVALUATE, f"--from-run={search.info.run_id}")
    assert code == 0, output
    code, output = workplace.run("variantlab", "compare")
    assert code == 0, output
    assert written_outside(workplace) == []


@pytest.mark.parametrize("option", ["model", "dataset", "sampler", "pruner"])
def test_what_is_chosen_by_name_may_not(workplace: Workplace, option: str) -> None:
    code, output = workplace.run("variantlab", "search", "--model=mlp", f"--{option}={HOSTILE}")
    assert code == 2, output
    assert len(said(output).splitlines()) <= 2
    assert HOSTILE in output
    assert written_outside(workplace) == []


def test_nor_may_a_search_space(workplace: Workplace) -> None:
    (workplace.folder / "space.yaml").write_text(f"models: [{HOSTILE}]\nlr: [{HOSTILE}]\n{HOSTILE}: [1, 2]\n")
    code, output = workplace.run("variantlab", "search", "--model=mlp", "--space=space.yaml")
    assert code == 2, output
    assert HOSTILE in output
    assert written_outside(workplace) == []

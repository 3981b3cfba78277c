"""`variantlab doctor` sees what is wrong, says what to do, and repairs what dead processes left when it is asked to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.tracking import mlflow_tracker
from tests.faults.invariants import check_nothing_runs
from tests.faults.searches import ENDLESS, Watch, search, searching
from tests.functional.conftest import Workplace
from tests.tracking.conftest import use
from tests.waiting import wait_until


def doctor(workplace: Workplace, *options: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Its exit code, the state and finding of each thing, and all that it printed."""
    code, output = workplace.variantlab("doctor", f"--storage={workplace.storage}", *options)
    return code, rows(output), output


def rows(output: str) -> dict[str, tuple[str, str]]:
    """Thing -> its state, and what was found of it."""
    table = [[cell.strip() for cell in line.split("|")[1:4]] for line in output.splitlines() if line.startswith("|")]
    return {name: (state, found) for name, state, found in table[2:]}


def test_all_is_well_in_a_new_folder(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    code, found, output = doctor(workplace)
    assert code == 0, output
    assert {state for state, _ in found.values()} == {"well"}
    assert found["database of studies"] == ("well", "none yet")
    assert "torch" in found["imports"][1]
    assert not (workplace.folder / "optuna.db").exists()


def test_what_a_killed_search_left_is_seen_and_repaired_on_request(workplace: Workplace) -> None:
    with searching(workplace, *search(workplace, ENDLESS)) as process:
        watch = Watch(workplace)
        wait_until(lambda: watch.running() > 0, process)
        code, found, output = doctor(workplace)
        assert code == 0, output
        assert f"by process {process.pid}" in found["running trials"][1]
        process.kill()
    code, found, output = doctor(workplace)
    assert code == 1
    assert [name for name, (state, _) in found.items() if state != "well"] == ["open runs", "running trials"]
    assert "doctor --repair" in output
    code, found, output = doctor(workplace, "--repair")
    assert code == 0, output
    assert "ended now, as KILLED" in found["open runs"][1]
    check_nothing_runs(workplace)


def test_stores_that_cannot_be_reached_are_named_all_at_once(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_tracker, "START_SECONDS", 0)
    use(monkeypatch, "http://127.0.0.1:9", workplace.folder)
    result = CliRunner().invoke(main, ["doctor", "--storage=postgresql+psycopg://me@127.0.0.1:9/x"])
    assert result.exit_code == 1
    found = rows(result.output)
    wrong = {name: text for name, (state, text) in found.items() if state != "well"}
    assert set(wrong) == {"tracking store", "database of studies"}
    assert "127.0.0.1:9" in wrong["tracking store"]
    assert "Connection refused" in wrong["tracking store"]
    assert "start its server" in result.output

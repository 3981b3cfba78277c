"""The reports' tables from a shell: all that is left of them, and what a death in the middle costs."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow.entities import Run

from tests.families import family_of
from tests.functional.conftest import Workplace
from tests.waiting import wait_until

LINEAR = ("variantlab", "reproduce", "001/table-3", "--rounds=2", "--dataset=mnist5k", "--workers=1")
LITTLE = ("measure_little",)
FINISHED = """
    select count(*) from runs join tags on tags.run_uuid = runs.run_uuid
    where tags.key = 'role' and tags.value = 'evaluate' and runs.status = 'FINISHED'
"""


def by_role(workplace: Workplace, role: str) -> list[Run]:
    return workplace.runs(f"tags.role = '{role}'")


def artifacts(workplace: Workplace, run: Run) -> set[str]:
    client = mlflow.MlflowClient(workplace.tracking_uri)
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def text_of(run: Run, name: str) -> str:
    content: str = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{name}")
    return content


def evaluated(workplace: Workplace) -> int:
    """Evaluations that are finished, read without MLflow, which would make the tables that the command makes."""
    with contextlib.suppress(sqlite3.OperationalError):  # no file, or no table yet
        address = f"file:{workplace.folder}/mlflow.db?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            [count] = database.execute(FINISHED).fetchone()
            return int(count)
    return 0


def kill_after_the_first_evaluation(workplace: Workplace) -> None:
    """Start to make the table, kill that once an evaluation is finished, and wait until nothing of it is left."""
    process = workplace.start(*LINEAR, changed_by=LITTLE)
    wait_until(lambda: evaluated(workplace) >= 1, process)
    family = family_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, output


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, furnished: Callable[[Path], Workplace]) -> Workplace:
    """After a table that was killed in the middle and started again, and was then shown by `mlflow run`."""
    workplace = furnished(tmp_path_factory.mktemp("lab"))
    kill_after_the_first_evaluation(workplace)
    (workplace.folder / "reports.md").write_text("what was there before")
    code, output = workplace.run(*LINEAR, "--output=reports.md", changed_by=LITTLE)
    assert code == 0, output
    assert "processes that died had left" in output
    code, output = workplace.mlflow_run(
        "reproduce", tables="001/table-3", rounds="2", missing="leave", dataset="mnist5k"
    )
    assert code == 0, output
    assert "2 rounds (reduced: the report has 20)" in output
    return workplace


def evaluations(workplace: Workplace) -> list[Run]:
    return [run for run in by_role(workplace, "evaluate") if run.info.status == "FINISHED"]


def test_what_was_missing_is_measured_and_nothing_else(lab: Workplace) -> None:
    assert "RUNNING" not in {run.info.status for run in lab.runs()}
    killed, table, shown = by_role(lab, "reproduce")
    assert [run.info.status for run in (killed, table, shown)] == ["KILLED", "FINISHED", "FINISHED"]
    first, second = evaluations(lab)
    assert [run.data.tags["mlflow.parentRunId"] for run in (first, second)] == [killed.info.run_id, table.info.run_id]
    assert first.data.tags["config_hash"] != second.data.tags["config_hash"]
    for each in (table, shown):
        assert each.data.tags["source_runs"] == f"{first.info.run_id},{second.info.run_id}"


def test_the_run_of_a_table_holds_it_in_every_form(lab: Workplace) -> None:
    table = by_role(lab, "reproduce")[-1]
    assert (table.data.params["table"], table.data.params["rounds"]) == ("001/table-3", "2")
    assert table.data.metrics["figures"] == 6
    assert artifacts(lab, table) == {
        "report.html",
        *(f"{name}.{suffix}" for name in ("figures", "experiments", "conclusions") for suffix in ("csv", "tex", "md")),
    }
    lines = text_of(table, "figures.csv").splitlines()
    [row] = [line for line in lines if line.startswith("Linear with dropout,test digit error,6.39 ± 0.77,")]
    best, last = float(row.split(",")[3].split()[0]), evaluations(lab)[1].data.metrics["final_test_digit_error"]
    assert 0 < best <= 100 * last + 0.005  # of each round's own best epoch
    assert text_of(table, "figures.md") in table.data.tags["mlflow.note.content"] + "\n"
    assert "Dropout changes nothing in the linear network." in text_of(table, "report.html")


def test_the_written_page_names_the_run_and_the_commit_of_each_row(lab: Workplace) -> None:
    text = (lab.folder / "reports.md").read_text()
    assert text.startswith("# The reports' tables beside ours\n")
    for run in evaluations(lab):
        [line] = [line for line in text.splitlines() if run.info.run_id in line]
        assert run.data.tags["git_commit"][:12] in line
    assert str(lab.folder) not in text
    assert not list(lab.folder.glob("*.part"))


def test_a_table_is_reproduced_into_the_store(tmp_path: Path, furnished: Callable[[Path], Workplace]) -> None:
    workplace = furnished(tmp_path)
    command = ("variantlab", "reproduce", "004/disc", "--rounds=2", "--dataset=mnist5k", "--workers=1")
    code, output = workplace.run(*command, changed_by=LITTLE)
    assert code == 0, output
    assert "2 rounds (reduced: the report has 10)" in output
    [table], [evaluation] = by_role(workplace, "reproduce"), by_role(workplace, "evaluate")
    assert {run.info.status for run in workplace.runs()} == {"FINISHED"}
    assert evaluation.data.tags["mlflow.parentRunId"] == table.info.run_id
    assert table.data.tags["source_runs"] == evaluation.info.run_id
    assert (table.data.params["table"], table.data.params["rounds"]) == ("004/disc", "2")
    assert table.data.metrics["figures"] == 6
    assert artifacts(workplace, table) == {
        "report.html",
        *(f"figures.{suffix}" for suffix in ("csv", "tex", "md")),
        *(f"{name}.{suffix}" for name in ("loss_by_family", "error_by_epoch_00") for suffix in ("png", "svg")),
    }
    client = mlflow.MlflowClient(workplace.tracking_uri)
    errors = client.get_metric_history(evaluation.info.run_id, "round/test_error")
    mean = 100 * sum(error.value for error in errors) / 2
    assert f"Best model,test error,2.51 ± 0.65,{mean:.2f} ± " in text_of(table, "figures.csv")
    assert text_of(table, "figures.md") in table.data.tags["mlflow.note.content"] + "\n"
    assert text_of(table, "report.html").count("<img ") == 2

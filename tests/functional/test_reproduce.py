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
from mlflow.entities import Run

from tests.families import family_of
from tests.functional.conftest import Workplace
from tests.waiting import wait_until

LINEAR = ("variantlab", "reproduce", "001/table-3", "--rounds=2", "--dataset=mnist5k", "--workers=1")
SMALLER = ("leave_out_experiments",)
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
    process = workplace.start(*LINEAR, changed_by=SMALLER)
    wait_until(lambda: evaluated(workplace) >= 1, process)
    family = family_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, output


def test_a_table_is_reproduced_into_the_store(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    code, output = workplace.mlflow_run("reproduce", tables="004/disc", rounds="2", dataset="mnist5k", workers="1")
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


def test_killed_in_the_middle_and_started_again_it_measures_what_is_missing(
    tmp_path: Path, furnished: Callable[[Path], Workplace]
) -> None:
    workplace = furnished(tmp_path)
    kill_after_the_first_evaluation(workplace)
    [first] = workplace.runs("tags.role = 'evaluate' and attributes.status = 'FINISHED'")
    (workplace.folder / "reports.md").write_text("what was there before")
    code, output = workplace.run(*LINEAR, "--output=reports.md", changed_by=SMALLER)
    assert code == 0, output
    assert "processes that died had left" in output
    statuses = [run.info.status for run in workplace.runs()]
    assert "RUNNING" not in statuses
    finished = [run for run in by_role(workplace, "evaluate") if run.info.status == "FINISHED"]
    configurations = [run.data.tags["config_hash"] for run in finished]
    assert len(set(configurations)) == len(configurations) > 1
    assert finished[0].info.run_id == first.info.run_id
    assert [run.info.status for run in by_role(workplace, "reproduce")] == ["KILLED", "FINISHED"]
    assert by_role(workplace, "reproduce")[-1].data.tags["source_runs"] == ",".join(run.info.run_id for run in finished)
    text = (workplace.folder / "reports.md").read_text()
    assert text.startswith("# The reports' tables beside ours\n")
    for run in finished:
        [line] = [line for line in text.splitlines() if run.info.run_id in line]
        assert run.data.tags["git_commit"][:12] in line
    assert str(workplace.folder) not in text
    assert not list(workplace.folder.glob("*.part"))

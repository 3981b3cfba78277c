"""What CONTRIBUTING.md shows works as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPACE = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nepochs: {type: choice, values: [1, 2, 25, 30]}\n"


def examples() -> list[str]:
    """The blocks of Python: a model, a task, a data source, a metric."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which all four were added."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pipeline", "search_spaces", "published"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MLproject"):
        shutil.copy(ROOT / name, folder)
    model, task, source, metric = examples()
    (folder / "pipeline/tasks/digit_pairs/families/widenet.py").write_text(model)
    (folder / "pipeline/tasks/circles").mkdir()
    (folder / "pipeline/tasks/circles/__init__.py").write_text("")
    task = task.replace("TASK = Task(", f"{source}\n\nTASK = Task(")
    task = task.replace("datasets={", 'datasets={"moons": Source(load=moons), ')
    task = task.replace("METRICS = (ERROR,)", f"{metric}\nMETRICS = (ERROR, MACRO_F1)")
    (folder / "pipeline/tasks/circles/task.py").write_text(task)
    for family in ("widenet", "circler"):
        (folder / f"search_spaces/{family}.yaml").write_text(SPACE)
    return folder


FEW = ["--workers=1", "--rounds=2", "--preset=report"]
COMMANDS = [
    ["search", "--model=widenet_ws_al", "--samples=40", "--workers=1", "--n-trials=2", "--folds=2", "--recheck=0"],
    ["evaluate", "--model=linear_circler", "--dataset=moons", "--samples=200", *FEW],
    ["evaluate", "--model=mlp_circler", "--dataset=moons", "--samples=200", *FEW],
    ["compare"],
    ["prepare", "--dataset=circles", "--samples=9"],
]
ALL_IN_ONE = """
import json, sys
from pipeline.cli import main
for number, arguments in enumerate(json.loads(sys.argv[1])):
    try:
        main(arguments)
    except SystemExit as end:
        print(f"end of {number}: {end.code}", flush=True)
"""
"""Runs commands in one process, which imports everything once."""


@pytest.fixture(scope="module")
def outputs(project: Path) -> list[str]:
    """What each command prints."""
    command = [sys.executable, "-c", ALL_IN_ONE, json.dumps(COMMANDS)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)
    assert re.findall(r"end of \d+: (\d+)", done.stdout) == ["0"] * len(COMMANDS), done.stdout + done.stderr
    return re.split(r"end of \d+: 0\n", done.stdout)


def test_a_model_is_one_file(outputs: list[str]) -> None:
    assert "widenet_ws_al: mean validation error" in outputs[0]


def test_a_task_is_one_folder(outputs: list[str]) -> None:
    assert "circles: 500 training and 500 test samples" in outputs[4]
    assert "depth 1 or 0" in outputs[3]


def test_a_data_source_is_one_function_and_a_metric_one_value(outputs: list[str]) -> None:
    assert "mlp_circler has the least mean test error" in outputs[3]
    assert all("macro f1" in output for output in outputs[1:4])

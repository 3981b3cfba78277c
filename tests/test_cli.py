"""The command line in this process, in an empty folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main

COMMANDS = ("prepare", "cross_validate", "search", "evaluate", "compare", "main")
HEAVY = ("torch", "torchvision", "mlflow", "optuna", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "sqlalchemy")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store without runs: making its tables takes seconds, so it is made once and copied."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    script = "from pipeline.tracking.mlflow_tracker import MlflowTracker; MlflowTracker()"
    subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{path}"}, check=True
    )
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    """A working folder with stores of its own, empty."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("VARIANTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="variantlab")


def runs_in(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return [name for (name,) in connection.execute("select name from runs")]


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom pipeline.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"import json\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    for option in main.commands[command].params:
        assert getattr(option, "help", None), f"--{option.name} of {command} has no help"


BAD: Sequence[tuple[str, list[str], str]] = [
    ("command", ["serch"], "Did you mean 'search'?"),
    ("option", ["compare", "--modles", "mlp"], "Did you mean '--models'?"),
    ("missing", ["search"], "Missing option '--model'"),
    ("model", ["search", "--model", "mlp_ws_all"], "unknown model 'mlp_ws_all'; did you mean mlp_ws_al"),
    ("number", ["search", "--model", "mlp", "--n-trials", "many"], "'many' is not a valid integer"),
    ("trials", ["search", "--model", "mlp", "--n-trials", "0"], "--n-trials must be between 1 and"),
    (
        "space",
        ["search", "--model", "mlp", "--space", "no.yaml"],
        "unknown search space 'no.yaml'; choose from: search_spaces/convnet.yaml",
    ),
    ("study storage", ["search", "--model", "mlp", "--storage", "sqlite:////dev/null/x.db"], "--storage must be"),
    ("folds", ["cross_validate", "--model", "mlp", "--folds", "1"], "number of folds must lie between 2 and the 1000"),
    ("grid", ["cross_validate", "--model", "mlp", "--grid", "epoch=3"], "did you mean epochs?"),
    ("rounds", ["evaluate", "--model", "mlp", "--rounds", "0"], "--rounds must be between 1 and"),
    ("preset", ["evaluate", "--model", "mlp", "--preset", "reports"], "did you mean report?"),
    ("no search", ["evaluate", "--model", "mlp"], "run search first, or choose --preset report"),
    ("run", ["evaluate", "--model", "mlp", "--from-run", "abc"], "there is no run 'abc'"),
    ("dataset", ["prepare", "--dataset", "mnist6k"], "unknown dataset 'mnist6k'; did you mean mnist5k"),
    ("idx", ["prepare", "--dataset", "idx"], "--dataset idx needs --data-dir"),
    ("data dir", ["prepare", "--dataset", "idx", "--data-dir", "."], "has no train-images-idx3-ubyte"),
    ("pooling", ["prepare", "--pooling", "mean"], "unknown pooling 'mean'"),
    ("pairs", ["prepare", "--pairs", "1251"], "ask for at most --pairs 1250"),
    ("no pairs", ["prepare", "--pairs", "0"], "at least 1 pair, but got --pairs 0"),
    ("seed", ["prepare", "--seed", "-1"], "-1 is not in the range"),
    ("workers", ["evaluate", "--model", "mlp", "--workers", "none"], "must be auto or a number from 1 to 256"),
    ("device", ["evaluate", "--model", "mlp", "--device", "cuda0"], "unknown device 'cuda0'; did you mean cuda?"),
    ("precision", ["search", "--model", "mlp", "--precision", "float16"], "did you mean bfloat16"),
    ("compile", ["main", "--model", "mlp", "--compile", "yes"], "unknown compile 'yes'; choose from: auto, off, on"),
    ("chunk", ["evaluate", "--model", "mlp", "--chunk", "-1"], "--chunk must be between 0 and"),
    ("chunk text", ["evaluate", "--model", "mlp", "--chunk", "auto"], "'auto' is not a valid integer"),
    ("patience", ["cross_validate", "--model", "mlp", "--patience", "-1"], "--patience must be 0 (never stop early)"),
    ("grid name", ["cross_validate", "--model", "mlp", "--grid", "optimiser=adm"], "did you mean adam"),
    ("cache", ["prepare", "--cache-dir", "/dev/null/x"], "--cache-dir must be a folder that can be written"),
    ("no evaluation", ["compare"], "run evaluate first"),
    ("experiment", ["compare", "--experiment", "Defualt"], "unknown experiment 'Defualt'; did you mean Default?"),
    ("main", ["main", "--model", "mlp", "--pairs", "5000"], "ask for at most --pairs 1250"),
]


@pytest.mark.parametrize(("arguments", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_gets_one_clear_sentence_and_leaves_no_run(folder: Path, arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    [line] = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: ")
    assert message in line
    assert runs_in(folder) == []


MALFORMED = {
    "a list": ("- lr\n", "space.yaml:1: a search space must be a mapping"),
    "twice": ("lr: {type: float, low: 1, high: 2}\nlr: {type: float, low: 1, high: 2}\n", "space.yaml:2: the key 'lr'"),
    "near miss": ("lr: {type: float, lo: 1e-4, high: 1}\n", "space.yaml:1: lr: unknown key 'lo'; did you mean low"),
    "broken": ("lr: {type: float\n", "space.yaml:"),
    "name": ("optimiser: {type: choice, values: [adam, sdg]}\n", "space.yaml:1: unknown optimiser 'sdg'; did you mean"),
    "names": ("schedule: {type: int, low: 1, high: 2}\n", "space.yaml:1: schedule: takes names; use type: choice"),
    "alias": ("lr: &a {type: float, low: 1e-4, high: 1}\nalpha: *a\n", "space.yaml:2: aliases"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_space_is_explained_with_its_line(folder: Path, text: str, message: str) -> None:
    (folder / "space.yaml").write_text(text)
    result = invoke("search", "--model", "mlp_ws_al", "--space", "space.yaml")
    assert result.exit_code == 2
    assert message in result.stderr
    assert runs_in(folder) == []


def test_an_unwritable_tracking_store_is_one_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{os.devnull}/mlflow.db")
    result = invoke("prepare")
    assert result.exit_code == 2
    assert "MLFLOW_TRACKING_URI must name a tracking store" in result.stderr


def test_the_result_and_the_next_commands_are_shown(folder: Path) -> None:
    result = invoke("evaluate", "--model", "mlp", "--preset", "report", "--rounds", "2", "--pairs", "50")
    assert result.exit_code == 0, result.output
    assert "| mlp   |" in result.stdout
    assert "variantlab compare" in result.stdout
    assert f"mlflow ui --backend-store-uri sqlite:///{folder / 'mlflow.db'}" in result.stdout
    assert result.stderr == ""  # no terminal: no progress
    assert runs_in(folder) == ["evaluate mlp"]

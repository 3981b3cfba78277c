"""What a newcomer's own models and data can get wrong: one sentence each, and nothing is left behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.seeds import numpy_generator
from tests.cli.test_cli import invoke, runs_in

MODELS = """
import random
import torch
from torch import nn

made = iter(range(1000))


class Good(nn.Module):
    def __init__(self, in_features, num_classes, width: int = 4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes))

    def forward(self, x):
        return self.layers(x)


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(7, 3)

    def forward(self, x):
        return self.first(x)


class WithoutDefault(Good):
    def __init__(self, in_features, num_classes, depth):
        super().__init__(in_features, num_classes)


class Rolls(Good):
    def forward(self, x):
        return super().forward(x) * (1 + random.random())


class Changes(Good):
    def __init__(self, in_features, num_classes):
        super().__init__(in_features, num_classes)
        with torch.no_grad():
            self.layers[0].bias.fill_(next(made))


class Huge(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.first = nn.Linear(in_features, 20_000_000_000)
        self.last = nn.Linear(20_000_000_000, num_classes)

    def forward(self, x):
        return self.last(self.first(x))
"""
X_ND = numpy_generator(0, "own models").normal(size=(60, 3)).astype(np.float32)
CLASS_N = np.array(["a", "b", "c"] * 20)


def with_one(array: np.ndarray[Any, Any], place: Any, value: object) -> np.ndarray[Any, Any]:
    changed = array.copy()
    changed[place] = value
    return changed


GOOD: Mapping[str, Any] = {"x": X_ND, "y": CLASS_N}
FEW = np.array(["c"] * 4 + ["b"] * 26 + ["a"] * 30)
FAULTS: Mapping[str, tuple[list[str], Mapping[str, Any], list[str]]] = {
    "shape": (["models.py:Fixed"], GOOD, ["of the shape (3,)", "its layer first (Linear)", "4x3 and 7x3"]),
    "fractions as classes": (
        ["models.py:Good", "--task", "classification"],
        {"x": X_ND, "y": X_ND[:, 0]},
        ["has values like ", "use --task regression"],
    ),
    "text as values": (
        ["models.py:Good", "--task", "regression"],
        GOOD,
        ["a regression learns numbers", "values like 'a'", "use --task classification"],
    ),
    "either": (
        ["models.py:Good"],
        {"x": X_ND, "y": np.arange(60) % 30},
        ["could be classification or regression (the target has 30 distinct", "--task"],
    ),
    "in the test set alone": (
        ["models.py:Good"],
        {**GOOD, "x_test": X_ND[:10], "y_test": np.array(["z"] + ["a"] * 9)},
        ["the test part of data alone has z", "--test-size"],
    ),
    "fewer than folds": (
        ["models.py:Good"],
        {"x": X_ND, "y": FEW},
        ["each of 5 folds needs a sample of every class, but of class c there are 3", "--folds"],
    ),
    "missing": (
        ["models.py:Good"],
        {"x": with_one(X_ND, (3, 1), np.nan), "y": CLASS_N},
        ["no number may be missing (NaN), but some are in sample 3", "--impute mean"],
    ),
    "constant": (
        ["models.py:Good"],
        {"x": np.ones_like(X_ND), "y": CLASS_N},
        ["all 60 of data have the same", "choose other features"],
    ),
    "one class": (
        ["models.py:Good"],
        {"x": X_ND, "y": np.array(["a"] * 60)},
        ["two classes at least, but all samples of data are of class a", "another target"],
    ),
    "no default": (
        ["models.py:WithoutDefault"],
        GOOD,
        ["constructor arguments have defaults", "depth of WithoutDefault has none; give it one"],
    ),
    "unknown argument": (
        ["models.py:Good", "--space", "wrong.yaml"],
        GOOD,
        ["wrong.yaml:1: unknown hyperparameter 'widht'; did you mean width?"],
    ),
    "unknown name": (["models.py:Goood"], GOOD, ["unknown model in models.py 'Goood'; did you mean Good?"]),
    "not importable": (
        ["broken.py:Good"],
        GOOD,
        ["line 3 of broken.py (import no_such_package)", "No module named 'no_such_package'"],
    ),
    "raises": (["raises.py:Good"], GOOD, ["line 2 of raises.py (return 1 / 0) raised ZeroDivisionError"]),
    "no file": (["nothing.py:Good"], GOOD, ["there is no nothing.py"]),
    "no module": (["no_such_package.models:Good"], GOOD, ["there is no module no_such_package"]),
    "global draws": (["models.py:Rolls"], GOOD, ["draw from torch alone", "Python's or NumPy's global generator"]),
    "changing weights": (["models.py:Changes"], GOOD, ["layers.0.bias of Changes is not the same again"]),
    "memory": (["models.py:Huge"], GOOD, ["must fit into memory", "140,000,000,003 parameters", "that are free"]),
    "unknown column": (
        ["models.py:Good", "--dataset", "csv", "--data-file", "data.csv", "--target", "clas"],
        GOOD,
        ["'clas'", "did you mean class?"],
    ),
    "an option of other data": (
        ["models.py:Good", "--group", "tree"],
        GOOD,
        ["--dataset npz takes no --group"],
    ),
    "a variant of another task": (["mlp"], GOOD, ["mlp learns from", "but got --dataset npz"]),
    "unknown metric": (
        ["models.py:Good", "--metric", "balanced"],
        GOOD,
        ["unknown metric 'balanced'; did you mean balanced_error?"],
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_runs: Path) -> Path:
    """A newcomer's folder, with an empty store."""
    shutil.copy(empty_runs, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("VARIANTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS)
    Path("broken.py").write_text("import torch\n\nimport no_such_package\n")
    Path("raises.py").write_text("def half():\n    return 1 / 0\n\n\nGood = half()\n")
    Path("wrong.yaml").write_text("widht: {type: int, low: 1, high: 4}\n")
    Path("data.csv").write_text("size,class\n1,a\n2,b\n3,a\n4,b\n")
    return tmp_path


@pytest.mark.parametrize(("arguments", "data", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_what_is_wrong_is_one_sentence_with_a_way_out(
    folder: Path, arguments: list[str], data: Mapping[str, Any], said: list[str]
) -> None:
    np.savez(folder / "data.npz", **data)
    source = [] if "--dataset" in arguments else ["--dataset", "npz", "--data-file", "data.npz"]
    result = invoke("search", "--model", *arguments, *source)
    assert result.exit_code == 2, result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in result.output
    for part in said:
        assert part in line
    assert runs_in(folder) == []
    assert not list(folder.glob("optuna*"))


COUNTED = """
from pathlib import Path

import numpy as np


def draw():
    with Path("drawn.txt").open("a") as file:
        file.write("drawn\\n")
    x_ND = np.random.default_rng().normal(size=(60, 3))  # other samples each time
    return x_ND, x_ND[:, 0] > 0
"""


def test_a_command_reads_data_once(folder: Path) -> None:
    Path("draws.py").write_text(COUNTED)
    own = ["--model", "models.py:Good", "--dataset", "draws.py:draw", "--preset", "default", "--rounds", "2"]
    result = invoke("evaluate", *own, "--changes", "epochs=1", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert Path("drawn.txt").read_text() == "drawn\n"
    assert runs_in(folder) == ["evaluate Good"]

"""A study from Python, in a script as people write it: without a guard, with classes of its own."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import numpy as np
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import variantlab as vl

rng = np.random.default_rng(0)
x = rng.normal(size=(160, 2))
y = np.where(x[:, 0] * x[:, 1] > 0, "same", "different")


@vl.factors(hidden=[False, True], squares=[False, True])
class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, hidden: bool = False, squares: bool = False, width: int = 8):
        super().__init__()
        self.squares = squares
        self.last = nn.Linear(in_features, num_classes)
        if hidden:
            self.last = nn.Sequential(nn.Linear(in_features, width), nn.Tanh(), nn.Linear(width, num_classes))

    def forward(self, x):
        return self.last(x * x.flip(-1).sign() if self.squares else x)


lab = vl.Lab(vl.data.arrays(x, y, name="quadrants"), workers=2)
plain, squares, hidden, both = vl.definitions_of(Net)
space = {"lr": vl.Float(1e-3, 1e-1, log=True), "width": [4, 8]}
found = lab.search(both, space=space, n_trials=3, folds=2, recheck=0)
print("searched", "width" in found.table.headers)
for variant in (plain, squares, hidden):
    lab.evaluate(variant, rounds=3, changes={"epochs": 3, "lr": 0.05})
lab.evaluate(both, rounds=3)
lab.evaluate(DecisionTreeClassifier, rounds=3)
print(lab.compare())
try:
    lab.compare(["nothing"])
except Exception as error:
    print("refused:", error)
for width in (3, 5):
    with open("models.py", "w") as file:
        file.write(FILE.replace("WIDTH", str(width)))
    found = lab.evaluate("models.py:made", rounds=2, changes={"epochs": 1})
    print("parameters", found.table.rows[0][found.table.headers.index("parameters")])
"""
FILE = """
from torch import nn


def made(in_features, num_classes):
    return nn.Sequential(nn.Linear(in_features, WIDTH), nn.Linear(WIDTH, num_classes))
"""


def test_an_unguarded_script_searches_evaluates_and_compares(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(f"FILE = {FILE!r}\n{SCRIPT}")
    done = subprocess.run(
        [sys.executable, "study.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "searched True" in said
    assert re.search(r"\S+ has the least mean test error, .* of 5 variants", said)
    for contrast in ("hidden", "squares", "interaction"):
        assert re.search(rf"\b{contrast}\b", said)
    assert "search budgets differ" in said
    assert "refused: unknown model 'nothing'" in said
    assert said.count("parameters 17") == said.count("parameters 27") == 1  # the file as it was at each call
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        names = [name for (name,) in connection.execute("select name from runs where status = 'FINISHED'")]
    assert sum(name.startswith("evaluate ") for name in names) == 7
    assert sum(name.startswith("search ") for name in names) == 1
    assert not list(tmp_path.glob("*.part"))

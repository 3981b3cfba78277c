"""Tasks stay in their rooms, and functions short; who may import whom is held by the contracts in pyproject.toml."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PIPELINE = Path(__file__).parents[1] / "pipeline"
OF_ONE_TASK = re.compile(r"\b(digits?|pairs?|mnist\w*)\b", re.IGNORECASE)
SPEAKS_OF_ONE = {
    "base/stored.py": "names in stores",
    "data/sources/__init__.py": "data sets of digits that any task can learn from",
    "data/sources/options.py": "the same",
    "data/sources/mnist.py": "the same",
    "data/config.py": "the data set that is used when none is named",
    "cli/options.py": "the same on the command line",
}
"""Files outside of the tasks that name what is of one task alone, and why they must."""
MOST_LINES = 60


def test_no_general_layer_speaks_of_digits_or_pairs() -> None:
    found = set()
    for path in PIPELINE.rglob("*.py"):
        name = path.relative_to(PIPELINE).as_posix()
        if not name.startswith("tasks/") and OF_ONE_TASK.search(path.read_text()):
            found.add(name)
    assert found == SPEAKS_OF_ONE.keys()


def test_no_function_is_longer_than_a_screen() -> None:
    long = {}
    for path in PIPELINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_LINES:
                    long[f"{path.relative_to(PIPELINE)}: {node.name}"] = lines
    assert long == {}

"""The framework is written by hand: it takes nothing from torch but tensors and their operations."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import pipeline.tasks.disc.mini
from pipeline.tasks.disc.mini import MSE, SGD, Sequential
from tests.tasks.disc.mini.twins import NETWORKS, begun, noise

SOURCES = sorted(Path(pipeline.tasks.disc.mini.__file__).parent.glob("*.py"))
FORBIDDEN = {"nn", "autograd", "optim", "func", "ops", "_C"}
"""Parts of torch that hold derivatives, layers or optimisers."""
SWITCHES = {"requires_grad", "requires_grad_", "grad", "grad_fn", "enable_grad", "set_grad_enabled", "register_hook"}
"""Ways to let autograd work."""


def modules_of(node: ast.AST) -> Iterator[str]:
    """What an import statement may load, by full name."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_allowed(module: str) -> bool:
    first, *rest = module.split(".")
    if first == "torch":
        return not FORBIDDEN.intersection(rest)
    if first == "pipeline":
        return module.startswith(("pipeline.base.errors.", "pipeline.tasks.disc.mini."))
    return first in sys.stdlib_module_names


def is_backward_of_a_tensor(call: ast.Call) -> bool:
    """A module's takes the gradient of its output and nothing else; a tensor's does without, or has options."""
    return ast.unparse(call.func).endswith(".backward") and (len(call.args) != 1 or bool(call.keywords))


def offences(source: str) -> list[str]:
    """What a file may not hold."""
    found = []
    for node in ast.walk(ast.parse(source)):
        found += [module for module in modules_of(node) if not is_allowed(module)]
        if isinstance(node, ast.Attribute) and node.attr in SWITCHES | FORBIDDEN:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.keyword) and node.arg in SWITCHES:
            found.append(f"{node.arg}=")
        elif isinstance(node, ast.Call) and is_backward_of_a_tensor(node):
            found.append(ast.unparse(node))
    return found


def test_all_files_are_read() -> None:
    assert [path.name for path in SOURCES] == ["__init__.py", "loss.py", "modules.py", "sgd.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_takes_tensors_alone_from_torch(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn",
        "import torch.nn.functional as F",
        "import torch.optim as optim",
        "from torch import Tensor, nn",
        "from torch.nn import functional",
        "from torch.nn.functional import relu",
        "from torch.autograd import Function",
        "from torch import autograd",
        "import numpy as np",
        "import pipeline.training",
        "from pipeline.training.layers import BatchedLinear",
        "from pipeline.base import seeds",
        "torch.nn.functional.relu(x)",
        "torch.autograd.grad(y, x)",
        "t.autograd.backward(y, g)",
        "torch.optim.SGD([x], lr=1)",
        "x.requires_grad_()",
        "x.requires_grad = True",
        "torch.zeros(3, requires_grad=True)",
        "torch.ops.aten.tanh_backward(g, y)",
        "torch.enable_grad()",
        "loss.backward()",
        "loss.backward(gradient=g)",
        "value.sub_(value.grad)",
    ],
)
def test_the_reading_finds(source: str) -> None:
    assert offences(source)


@pytest.mark.parametrize(
    "source", ["import math", "from torch import Tensor", "layer.backward(gradient)", "x.tanh()", "p.gradient.zero_()"]
)
def test_the_reading_lets_pass(source: str) -> None:
    assert not offences(source)


def trained() -> Sequential:
    network, loss = begun(NETWORKS["mixed"]()), MSE()
    sgd = SGD(network, [0.1, 0.2, 0.3])
    for step in range(3):
        network.zero_gradients()
        loss.forward(network.forward(noise(3, 4, 3, seed=step)), noise(3, 4, 2, seed=9))
        network.backward(loss.backward())
        sgd.step()
    return network


def test_training_goes_its_way_where_autograd_cannot() -> None:
    """In inference mode torch records nothing and refuses to differentiate."""
    with torch.inference_mode():
        without = [trained().state(row) for row in range(3)]
    network = trained()
    for parameter in network.parameters():
        assert not parameter.value.requires_grad
        assert not parameter.gradient.requires_grad
    for row, state in enumerate(without):
        for name, value in network.state(row).items():
            assert torch.equal(value, state[name])

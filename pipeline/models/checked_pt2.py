"""A network exported to a .pt2 file with its SHA-256 beside it, and what refuses to load it when it is damaged.

torch does not look at the checksums in a .pt2 file, so that of a damaged one it may make a network that gives other
answers. This file is shipped with every model that is logged and loads it where this package is not: it needs torch,
NumPy and the standard library alone.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn


class Predictor:
    """A network as MLflow calls it."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def predict(self, model_input: ArrayLike) -> NDArray[np.float32]:
        """(B, ...) -> (B, ...): inputs of the exported network, and its outputs."""
        copy = np.array(model_input, dtype=np.float32, order="C")  # torch takes no read-only and no reversed arrays
        with torch.no_grad():
            output: Tensor = self._network(torch.from_numpy(copy))
        return output.numpy()


class ExportError(ValueError):
    """A network does what cannot be exported; the message says what."""


def prepare() -> None:
    """Import what an export needs, which takes a second or two, while there is nothing else to do."""
    importlib.import_module("torch._dynamo")


def export(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The network as a program that takes any B, from an input (B, ...) with B > 1.

    Raises ExportError.
    """
    with _silence():
        try:
            return torch.export.export(network, (example,), dynamic_shapes=[{0: torch.export.Dim.DYNAMIC}])
        except Exception as error:  # of any kind: it runs a person's own forward
            first = str(error).strip().partition("\n")[0]
            raise ExportError(f"torch.export raised {type(error).__name__}: {first}") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Inside, nothing is printed, warned of or logged: of what cannot be exported torch prints all that it could."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def save(exported: torch.export.ExportedProgram, path: Path) -> None:
    """Write it to `path`, and keep the SHA-256 beside it as `sha256sum` writes it."""
    content = io.BytesIO()
    torch.export.save(exported, content)
    path.write_bytes(content.getvalue())
    digest_path(path).write_text(_checksum(path.name, content.getvalue()), encoding="utf-8")


def digest_path(path: Path) -> Path:
    """Where the SHA-256 of a file is kept."""
    return path.with_name(f"{path.name}.sha256")


def load(path: str | Path) -> Predictor:
    """The network that was saved to `path`.

    Raises ValueError when the file or its SHA-256 is not as it was written, OSError when one of them cannot be read.
    """
    path = Path(path)
    content, kept = path.read_bytes(), digest_path(path).read_bytes()
    found = _checksum(path.name, content)
    if kept != found.encode():
        raise ValueError(
            f"a saved model must have the SHA-256 that was kept beside it, {kept.decode(errors='replace').rstrip()!r}, "
            f"but {path} has {found.rstrip()!r}; copy or download the model again, or log it anew"
        )
    return Predictor(torch.export.load(io.BytesIO(content)).module())


def _checksum(name: str, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


_load_pyfunc = load  # the name by which MLflow calls it

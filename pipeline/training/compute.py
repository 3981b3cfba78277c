"""Where and how replicas train."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from pipeline.base.errors import InputError, UnknownNameError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")
COMPILE = ("off", "auto", "on")
MAX_WORKERS = 256
MAX_CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The machine's part in a training. Everything but `workers` can change the last bits of a result."""

    workers: int = 2
    """Processes of one thread each; on a GPU it is always one."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: CUDA where there is a GPU."""
    precision: str = "float32"
    """`bfloat16` computes on rounded copies of weights that stay in float32."""
    compile: str = "off"
    """`on`: all steps go through torch.compile; `auto`: those for which a probe shows that it pays back in the job."""
    chunk: int = 0
    """Replicas that train as one program, at most; 0 chooses from the size of the model."""

    def __post_init__(self) -> None:
        for name, known in (("device", DEVICES), ("precision", PRECISIONS), ("compile", COMPILE)):
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        for name, low, high in (("workers", 1, MAX_WORKERS), ("chunk", 0, MAX_CHUNK)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"--{name} must be between {low} and {high}, but got {getattr(self, name)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device cuda needs a GPU that torch can use, but finds none; choose --device cpu")

    def resolved(self) -> Compute:
        """With the device that `auto` stands for here."""
        cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return replace(self, device="cuda", workers=1) if cuda else replace(self, device="cpu")

    @property
    def params(self) -> dict[str, str]:
        """What results depend on, as it is logged: `trained_on` is the device, which may have been given as `auto`."""
        return {"trained_on": self.resolved().device, "precision": self.precision, "compile": self.compile}

"""What a result depends on besides the code: hardware, without the host's name, and versions."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from pipeline.training.machine import processor

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
PACKAGES = ("torch", "numpy", "jax", "skorch", "lightning")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine."""

    cpu: str
    cores: int
    """That this process may use."""
    memory_gib: float
    caches: dict[str, str]
    """Level -> size, as far as known."""
    gpu: str = ""
    """Empty when none is used."""

    @property
    def title(self) -> str:
        """CPU, cores and GPU in words."""
        return f"{self.cpu}, {self.cores} cores" + (f", {self.gpu}" if self.gpu else "")

    @property
    def slug(self) -> str:
        """The title as a part of a file's name."""
        words = re.sub(r"\((r|tm|c)\)|\bcpu\b|@.*?ghz", " ", self.title.lower())
        return re.sub(r"[^a-z0-9]+", "-", words).strip("-")

    def facts(self) -> dict[str, str]:
        """Name to value, for the page."""
        known = {"CPU": self.cpu, "cores": str(self.cores), "memory": f"{self.memory_gib:.0f} GiB", **self.caches}
        return known | ({"GPU": self.gpu} if self.gpu else {})


def this_machine() -> Hardware:
    """What this process runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory().total / 2**30
    return Hardware(cpu=processor(), cores=cores, memory_gib=memory, caches=_caches())


def versions() -> dict[str, str]:
    """Of Python and of what the contestants need; those that are not installed are left out."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(CACHES.glob("index*")):
        level, size = ((folder / name).read_text().strip() for name in ("level", "size"))
        if level != "1":
            found[f"L{level} cache"] = size.replace("K", " KiB")
    return found

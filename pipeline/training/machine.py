"""What a training was computed on and with: other instructions, or another torch, round otherwise."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache

MACHINE = ("processor", "cpu_capability", "torch", "torch_build")
"""What is recorded of it."""
UNKNOWN = dict.fromkeys(MACHINE, "unknown")
LIBRARIES = {"MKL": r"Math Kernel Library Version (\S+?)(?:-Product)? ", "oneDNN": r"MKL-DNN v(\S+)"}
"""Name -> how torch's own description gives its version."""


@cache
def this_machine() -> dict[str, str]:
    """The processor's name, the instruction set that torch uses on it, and torch's version and build."""
    import torch  # a second, which commands that train nothing need not wait for

    return {
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "torch_build": _build(torch.__config__.show(), torch.version.cuda, torch.version.hip),
    }


def arithmetic(machine: Mapping[str, str]) -> str:
    """The part of it on which the last bits of results depend; empty if it is not known."""
    known = machine.get("cpu_capability", "unknown") != "unknown"
    return f"{machine['cpu_capability']} and torch {machine['torch']}" if known else ""


@cache
def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = _ask_sysctl() if platform.system() == "Darwin" else []
    return names[0] if names else platform.processor() or platform.machine()


def _ask_sysctl() -> list[str]:
    asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.strip().splitlines()


def _build(described: str, cuda: str | None, hip: str | None) -> str:
    gpu = f"CUDA {cuda}" if cuda else ""
    gpu = f"ROCm {hip}" if hip else gpu
    found = {name: re.search(pattern, described) for name, pattern in LIBRARIES.items()}
    libraries = [f"{name} {version[1]}" for name, version in found.items() if version]
    return ", ".join([gpu or "CPU", *libraries])

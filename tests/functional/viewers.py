"""`variantlab ui` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.functional.conftest import Workplace

ADDRESS = re.compile(r"^(\S+) +(http://127\.0\.0\.1:\d+)(/\S*)$")


@contextmanager
def ui(workplace: Workplace) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command, with the addresses that it has printed: program -> root. It is killed if the test fails."""
    with workplace.start("variantlab", "ui") as process:
        try:
            assert process.stdout is not None
            addresses: dict[str, str] = {}
            for line in process.stdout:
                if found := ADDRESS.match(line.strip()):
                    addresses[found[1]] = found[2]
                if "Ctrl-C" in line:
                    break
            yield process, addresses
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

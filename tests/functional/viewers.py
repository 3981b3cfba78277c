"""`variantlab ui` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.functional.conftest import Workplace

ADDRESS = re.compile(r"^(\S+) +(http://(?:\[[\d:]+\]|[\w.]+):\d+)(/\S*)$")


@contextmanager
def ui(
    workplace: Workplace, *options: str, environment: Mapping[str, str] | None = None, said: list[str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command, with the addresses that it has printed: program -> root. It is killed if the test fails.

    The lines that it has printed until then are put into `said`.
    """
    said = [] if said is None else said
    with workplace.start("variantlab", "ui", *options, environment=environment) as process:
        try:
            assert process.stdout is not None
            addresses: dict[str, str] = {}
            for line in process.stdout:
                said.append(line)
                if found := ADDRESS.match(line.strip()):
                    addresses[found[1]] = found[2]
                if "Ctrl-C" in line:
                    break
            else:
                raise AssertionError("".join(said))
            yield process, addresses
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

"""The user interfaces of MLflow and Optuna over the present stores: started together, and stopped together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import psutil
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from pipeline.errors import InputError, StageError, hide_secrets

LOOPBACK = "127.0.0.1"
START_SECONDS = 120
"""How long a server may take to answer for the first time."""
STOP_SECONDS = 10
"""How long it may take to stop when it is asked to."""
PAUSE = 0.2
"""Seconds between two looks at the servers."""
TOLD = 2000
"""Characters of what a server said last that are told when it stops by itself."""


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """A server that shows a store in a browser."""

    name: str
    command: Sequence[str]
    """With `{port}` where the port stands."""
    path: str
    """The page to open."""
    usual_port: int
    """The one that links in runs and notes lead to; taken if it is free."""


def mlflow_viewer(uri: str, experiment: str) -> Viewer:
    """MLflow's own, over a store that is no server; opened with the runs of an experiment, by its id."""
    command = ["-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", LOOPBACK, "--port", "{port}"]
    path = f"/#/experiments/{experiment}/runs?workflowType=machine_learning"
    return Viewer(name="MLflow", command=[sys.executable, *command], path=path, usual_port=5000)


def dashboard_viewer(storage: str, artifacts: str) -> Viewer | None:
    """optuna-dashboard, if there is a study to show: it would make an empty database where there is none."""
    try:
        url = make_url(storage)
    except ArgumentError as error:
        raise InputError(f"--storage must be a database URL, but {hide_secrets(str(error))}") from None
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        return None
    program = str(Path(sys.executable).parent / "optuna-dashboard")
    command = [program, storage, "--host", LOOPBACK, "--port", "{port}"]
    if Path(artifacts).is_dir():
        command += ["--artifact-dir", artifacts]
    return Viewer(name="optuna-dashboard", command=command, path="/dashboard", usual_port=8080)


class Server:
    """A viewer that runs."""

    def __init__(self, viewer: Viewer, said: IO[bytes]) -> None:
        """Start it; what it says goes to the file."""
        self.viewer, self._said = viewer, said
        port = _port(viewer.usual_port)
        self._root = f"http://{LOOPBACK}:{port}"
        self.process = psutil.Popen(
            [part.format(port=port) for part in viewer.command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # two processes instead of nine
            start_new_session=True,  # it is stopped by this process, and not by the keyboard
        )

    @property
    def address(self) -> str:
        """The page to open."""
        return self._root + self.viewer.path

    def wait_until_it_answers(self) -> None:
        """Raise StageError if it does not, or stops."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), urllib.request.urlopen(self._root, timeout=START_SECONDS):
                return
            time.sleep(PAUSE)
        raise StageError(f"{self.viewer.name} must answer within {START_SECONDS} seconds, but does not")

    def check(self) -> None:
        """Raise StageError if it has stopped."""
        if (code := self.process.poll()) is not None:
            self._said.seek(0)
            last = hide_secrets(self._said.read().decode(errors="replace")[-TOLD:].strip())
            raise StageError(f"{self.viewer.name} has stopped by itself (status {code}); it said last:\n{last}")

    def stop(self) -> None:
        """End it with all its processes."""
        family = [self.process, *self.process.children(recursive=True)] if self.process.is_running() else []
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def serving(viewers: Sequence[Viewer]) -> Iterator[list[Server]]:
    """The viewers, each answering at its address; in the end none is left.

    Raises StageError when one cannot be started.
    """
    with ExitStack() as stack:
        servers = []
        for viewer in viewers:
            server = Server(viewer, stack.enter_context(tempfile.TemporaryFile()))
            stack.callback(server.stop)
            servers.append(server)
        for server in servers:
            server.wait_until_it_answers()
        yield servers


def watch(servers: Sequence[Server]) -> NoReturn:
    """Wait until one of them stops by itself, and raise StageError for it."""
    while True:
        psutil.wait_procs([server.process for server in servers], timeout=1)
        for server in servers:
            server.check()


def _port(usual: int) -> int:
    """The usual one, or if that is taken a free one."""
    for port in (usual, 0):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise StageError(f"a server needs a free port on {LOOPBACK}, but there is none")

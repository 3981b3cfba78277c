"""Commands of variantlab and MLflow in processes that have imported everything: forked, and not started anew.

A process that imports PyTorch, MLflow and Optuna takes many seconds of a core before it does anything. One process
does so for the whole test session, and each command is a fork of it: with its own working folder, environment, session
and output, with the signals and exit code of any other process. What a command's workers are forked from, which would
import PyTorch as well, is a fork of it too.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
COMMANDS = {"variantlab": ("pipeline.cli", "main"), "mlflow": ("mlflow.cli", "cli")}
"""Name of a program -> where its command is."""
MODULES = (
    "torch",
    "mlflow.cli",
    "mlflow.projects",
    "optuna",
    "sklearn.model_selection",
    "matplotlib.pyplot",
    "pipeline.cli",
    "pipeline.tracking.mlflow_tracker",
    "pipeline.stages.search",
    "pipeline.stages.evaluate",
    "pipeline.stages.compare",
    "pipeline.stages.searching.pictures",
)
START = "from tests.preloaded import serve; serve(int(__import__('sys').argv[1]))"


READ_LATE = ("MLFLOW_", "VARIANTLAB_", "SOME_", "PG", "PATH", "TMPDIR", "CI", "COLUMNS")
"""How the variables begin that nothing reads while it is imported."""


def can_be_forked(program: str, environment: Mapping[str, str]) -> bool:
    """Whether a command would do the same in this environment if it were started anew."""
    is_ours = shutil.which(program, path=environment.get("PATH")) == str(Path(sys.executable).parent / program)
    differing = {name for name, _ in environment.items() ^ os.environ.items()}
    return is_ours and all(name.startswith(READ_LATE) for name in differing)


class Command(subprocess.Popen[str]):
    """A forked command, which can be used like any other process; its output is one pipe of text."""

    def __init__(
        self, args: Sequence[str], folder: Path, environment: Mapping[str, str], changed_by: Sequence[str] = ()
    ) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        reading, writing = os.pipe()
        request = json.dumps(
            {
                "args": list(args),
                "folder": str(folder),
                "environment": dict(environment),
                "changed_by": list(changed_by),
            }
        ).encode()
        socket.send_fds(self._connection, [len(request).to_bytes(8, "big")], [writing])
        self._connection.sendall(request)
        os.close(writing)
        self.args, self.returncode, self._child_created = args, None, True
        self._waitpid_lock, self._communication_started, self._input = threading.Lock(), False, None
        self.stdin = self.stderr = None
        self.stdout = os.fdopen(reading, encoding="utf-8", errors="replace")
        self.text_mode, self.encoding, self.errors = True, "utf-8", "replace"
        self.pid = int(self._line())

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            part = self._connection.recv(1)
            if not part:
                raise RuntimeError("the process that forks commands has ended")
            line += part
        return line.decode()

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def _ended(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(int(self._line()))
        self._connection.close()


@cache
def _server() -> str:
    """The address of the process that forks; it ends with this one, whose end closes its standard input."""
    listening = socket.socket(socket.AF_UNIX)
    address = str(Path(tempfile.mkdtemp(), "commands"))
    listening.bind(address)
    listening.listen(64)
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(listening.fileno())],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name == "PATH" or not name.startswith(READ_LATE)},
        stdin=subprocess.PIPE,
        pass_fds=[listening.fileno()],
        start_new_session=True,
    )
    listening.close()
    atexit.register(process.communicate)  # closes its standard input, and waits for it
    return address


def serve(descriptor: int) -> None:
    """Import everything, then fork a process for each command that is asked for."""
    before = set(os.environ)
    for module in MODULES:
        __import__(module)
    for module in sys.modules["pipeline.training.processes"].IMPORTED_ONCE:
        __import__(module)
    assert threading.active_count() == 1, "a fork has no other threads: what they hold would be held for ever"
    set_by_imports = {name: value for name, value in os.environ.items() if name not in before}
    gc.freeze()
    request = _forked(socket.socket(fileno=descriptor))
    os.environ.clear()
    os.environ.update({**set_by_imports, **request["environment"]})
    os.chdir(request["folder"])
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
    tempfile.tempdir = None
    gc.enable()
    _fork_server_of_workers()
    if request["changed_by"]:
        name, *values = request["changed_by"]
        getattr(importlib.import_module("tests.changes"), name)(*values)
    program, *arguments = request["args"]
    sys.argv = [program, *arguments]
    command: click.Command = getattr(sys.modules[COMMANDS[program][0]], COMMANDS[program][1])
    command.main(arguments, prog_name=program)


def _fork_server_of_workers() -> None:
    """What multiprocessing.forkserver.ensure_running() does, by a fork."""
    server: Any = forkserver._forkserver
    alive, server._forkserver_alive_fd = os.pipe()
    server._forkserver_address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(server._forkserver_address)
        listening.listen()
        server._forkserver_pid = os.fork()
        if not server._forkserver_pid:
            os.close(server._forkserver_alive_fd)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as the command does when it starts one
            try:
                forkserver.main(os.dup(listening.fileno()), alive, [])
            finally:
                os._exit(0)
    os.close(alive)


def _forked(listening: socket.socket) -> dict[str, Any]:
    """The request of a command; this returns in its process alone."""
    running: dict[int, socket.socket] = {}
    waking, wake = os.pipe()
    for end in (waking, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, _, _ = select.select([listening, waking, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        if waking in ready:
            os.read(waking, 4096)
            while running:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                with running.pop(pid) as connection:
                    connection.sendall(f"{status}\n".encode())
        if listening in ready:
            connection, _ = listening.accept()
            length, [output], _, _ = socket.recv_fds(connection, 8, 1)
            request = connection.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
            pid = os.fork()
            if not pid:
                for other in (listening, connection, *running.values()):
                    other.close()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setsid()
                nothing = os.open(os.devnull, os.O_RDONLY)
                for place, number in ((nothing, 0), (output, 1), (output, 2)):
                    os.dup2(place, number)
                for spare in (nothing, output, waking, wake):
                    os.close(spare)
                return dict(json.loads(request))
            os.close(output)
            running[pid] = connection
            connection.sendall(f"{pid}\n".encode())

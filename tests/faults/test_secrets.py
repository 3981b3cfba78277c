"""Passwords and tokens of the environment and of URLs are used, and stand nowhere afterwards."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from click import BadParameter
from click.testing import CliRunner, Result
from sqlalchemy import make_url

from pipeline.cli import main
from pipeline.cli.options import DatabaseUrl
from tests.faults.postgres import PostgresServer, postgres_server
from tests.functional.conftest import Workplace
from tests.functional.viewers import ui

CANARY = "CANARY"
"""What each secret has in it: where a part of one is, this is."""
PASSWORD = f"of:the/{CANARY}@database"
"""With all that a URL gives a meaning to."""
ENVIRONMENT = {
    "MLFLOW_TRACKING_USERNAME": f"user-{CANARY}",
    "MLFLOW_TRACKING_PASSWORD": f"password-{CANARY}",
    "MLFLOW_TRACKING_TOKEN": f"token-{CANARY}",
    "SOME_SERVICE_TOKEN": f"service-{CANARY}",
}
SIZE = ("--model=mlp_ws_al", "--samples=60", "--workers=2")
SEARCH = ("search", *SIZE, "--folds=2", "--n-trials=2", "--population=2", "--recheck=1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One that asks for the password."""
    with postgres_server(tmp_path_factory.mktemp("postgres"), password=PASSWORD) as server:
        yield server


class Lab(Workplace):
    """A folder whose commands have secrets in their environment."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | ENVIRONMENT

    def leaks(self) -> list[Path]:
        """Files that hold a part of a secret, packed or not."""
        return [path for path in self.folder.rglob("*") if path.is_file() and CANARY.encode() in _content(path)]


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            content += b"".join(packed.read(name) for name in packed.namelist())
    return content


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, empty_runs: Path, server: PostgresServer) -> Lab:
    """A folder after all stages, with the study in the database."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    shutil.copy(empty_runs, lab.folder)
    for command in (
        (*SEARCH, f"--storage={server.url_with_password('optuna')}"),
        ("evaluate", *SIZE, "--rounds=2"),
        ("compare",),
    ):
        code, output = lab.variantlab(*command)
        assert code == 0, output
        assert CANARY not in output
    return lab


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """A command in this process and that folder."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(lab.folder)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_the_password_was_needed(server: PostgresServer, invoke: Invoke) -> None:
    result = invoke(*SEARCH, f"--storage={server.url('optuna')}")
    assert result.exit_code == 2
    assert "no password supplied" in result.stderr


def test_no_file_holds_a_secret(lab: Lab) -> None:
    assert lab.runs("tags.role = 'compare'")
    assert lab.leaks() == []


def test_the_database_holds_no_secret(server: PostgresServer, lab: Lab) -> None:
    content = server.dump("optuna")
    assert lab.runs("tags.role = 'search'")[0].data.tags["study"] in content
    assert CANARY not in content
    assert CANARY not in server.log()


@pytest.mark.parametrize("fault", ["password", "port", "malformed", "query"])
def test_a_storage_that_cannot_be_opened_is_told_without_its_password(
    server: PostgresServer, lab: Lab, invoke: Invoke, fault: str
) -> None:
    url = make_url(server.url_with_password("optuna"))
    wrong = {
        "password": url.set(password=f"wrong-{CANARY}"),
        "port": url.set(port=1),
        "malformed": url.set(host="127.0.0.1:1"),
        "query": url.set(password="").update_query_dict({"password": f"wrong-{CANARY}"}),
    }[fault]
    result = invoke(*SEARCH, f"--storage={wrong.render_as_string(hide_password=False)}")
    assert result.exit_code == 2, result.output
    [error] = result.stderr.splitlines()
    assert error.startswith("Error: --storage must be the URL of a database")
    assert CANARY not in error
    assert lab.leaks() == []


def test_a_plan_names_the_database_alone(server: PostgresServer, invoke: Invoke) -> None:
    url = make_url(server.url("optuna")).update_query_dict({"password": PASSWORD})
    result = invoke(*SEARCH, "--dry-run", f"--storage={url.render_as_string(hide_password=False)}")
    assert result.exit_code == 0, result.output
    assert CANARY not in result.output


def test_viewers_show_no_password_in_their_command_lines_and_use_it(server: PostgresServer, lab: Lab) -> None:
    environment = lab.environment | {"MLFLOW_TRACKING_URI": server.url_with_password("mlflow")}
    storage = f"--storage={server.url_with_password('optuna')}"
    with ui(lab, storage, environment=environment) as (process, addresses):
        servers = psutil.Process(process.pid).children(recursive=True)
        assert len(servers) >= 2
        assert CANARY not in json.dumps([server.cmdline() for server in servers])
        with urllib.request.urlopen(f"{addresses['optuna-dashboard']}/api/studies") as response:
            assert len(json.load(response)["study_summaries"]) == 1
        with urllib.request.urlopen(f"{addresses['MLflow']}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"):
            pass
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
        assert CANARY not in output
    code, output = lab.run("variantlab", "evaluate", *SIZE, f"--from-run={'0' * 32}", environment=environment)
    assert code == 2
    assert "there is no run" in output
    assert CANARY not in output
    assert lab.leaks() == []


def test_a_viewer_that_cannot_hide_a_password_is_not_started(invoke: Invoke) -> None:
    result = invoke("ui", f"--storage=mysql+pymysql://me:{CANARY}@127.0.0.1/optuna")
    assert result.exit_code == 2
    assert "--storage must have no password unless it is of PostgreSQL by psycopg" in result.stderr
    assert CANARY not in result.stderr


def test_mlflow_run_refuses_a_password_that_it_has_logged_and_nothing_of_it_stays(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    storage = f"postgresql+psycopg://me:{CANARY}@127.0.0.1/optuna"
    code, output = lab.mlflow_run("search", model="mlp", pairs="none", storage=storage)
    assert code == 1
    [error] = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "must be without a password under mlflow run" in error
    assert "PGPASSWORD, ~/.pgpass or a file that PGPASSFILE names" in error
    assert "change it" not in error
    assert CANARY not in error
    assert lab.leaks() == []
    assert "Traceback" not in output
    assert [run.info.status for run in lab.runs()] == ["FAILED"]


def test_a_password_that_a_tracking_server_has_is_to_be_changed(lab: Lab) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # no server: only what is said is looked at
        project = {
            "MLFLOW_RUN_ID": "0" * 32,
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{nobody.getsockname()[1]}",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        storage = f"postgresql://me:{CANARY}@127.0.0.1/optuna"
        command = ("variantlab", *SEARCH, "--samples=none", f"--storage={storage}")
        code, output = lab.run(*command, environment=lab.environment | project)
    assert code == 2
    assert "change it, since the tracking server has it now" in output
    assert CANARY not in output


@pytest.mark.parametrize(
    ("url", "has_password"),
    [
        ("sqlite:///optuna.db", False),
        ("sqlite:////home/me:mine@work/optuna.db", False),
        ("postgresql+psycopg://me@host:5432/optuna?sslmode=require", False),
        ("postgresql+psycopg://me:secret@host/optuna", True),
        ("postgresql+psycopg://:sec/ret@host/optuna", True),
        ("postgresql+psycopg://host/optuna?user=me&password=secret", True),
    ],
)
def test_passwords_are_recognised(monkeypatch: pytest.MonkeyPatch, url: str, has_password: bool) -> None:
    assert DatabaseUrl().convert(url, None, None) == url
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(BadParameter) if has_password else nullcontext():
        DatabaseUrl().convert(url, None, None)


def test_mlflow_run_takes_a_storage_whose_password_is_in_the_environment(
    server: PostgresServer, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    code, output = lab.mlflow_run(
        "search", model="mlp", n_trials="1", folds="2", pairs="60", recheck="0", storage=server.url("optuna")
    )
    assert code == 0, output
    assert lab.leaks() == []

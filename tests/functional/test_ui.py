"""`variantlab ui` as a person uses it: both user interfaces over the stores of a folder, until Ctrl-C."""

from __future__ import annotations

import base64
import re
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest

from tests.families import family_of
from tests.functional.clean_environment import clean_environment
from tests.functional.conftest import ROOT, Workplace
from tests.functional.viewers import ui

ELSEWHERE = "127.0.0.2"
"""An address that nobody else can reach either, but that neither variantlab nor MLflow takes for loopback."""
PASSWORD = "a password of enough characters"
AUTHENTICATION = {"MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD, "MLFLOW_FLASK_SERVER_SECRET_KEY": "random"}
FEW = {"MLFLOW_WORKERS": "1"}
"""Makes a server start in half the time."""
needs_flask_wtf = pytest.mark.skipif(
    find_spec("flask_wtf") is None, reason="MLflow's authentication needs the extra auth (Flask-WTF)"
)


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, furnished: Callable[[Path], Workplace], small: dict[str, str]
) -> Workplace:
    workplace = furnished(tmp_path_factory.mktemp("searched"))
    options = [f"--{name}={value}" for name, value in small.items()]
    code, said = workplace.variantlab("search", "--model=mlp", "--n-trials=2", "--folds=2", *options)
    assert code == 0, said
    return workplace


def answer(address: str, *, password: str = "", **headers: str) -> int:
    """The status of an answer to the administrator with this password, or to anybody."""
    if password:
        headers["Authorization"] = f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}"
    body = b"{}" if "Origin" in headers else None  # browsers name the origin of a page that sends something
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"} | headers)
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except HTTPError as error:
        with error:
            return error.code


@pytest.fixture(scope="module")
def elsewhere(searched: Workplace) -> Iterator[tuple[dict[str, str], str]]:
    """Both servers with MLflow not on loopback: the addresses, and what was said."""
    said: list[str] = []
    environment = searched.environment | AUTHENTICATION | FEW
    with ui(searched, "--host", ELSEWHERE, environment=environment, said=said) as (process, addresses):
        yield addresses, "".join(said)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert (searched.folder / "basic_auth.db").exists()


@needs_flask_wtf
def test_elsewhere_mlflow_asks_for_a_password(elsewhere: tuple[dict[str, str], str]) -> None:
    addresses, _ = elsewhere
    page, runs = addresses["MLflow"], f"{addresses['MLflow']}/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
    assert page.startswith(f"http://{ELSEWHERE}:")
    assert [answer(page), answer(runs)] == [401, 401]
    assert [answer(page, password="wrong"), answer(runs, password="wrong")] == [401, 401]
    assert [answer(page, password=PASSWORD), answer(runs, password=PASSWORD)] == [200, 200]


@needs_flask_wtf
def test_elsewhere_mlflow_answers_its_own_pages_alone(elsewhere: tuple[dict[str, str], str]) -> None:
    page = elsewhere[0]["MLflow"]
    search = f"{page}/ajax-api/2.0/mlflow/runs/search"
    assert answer(page, password=PASSWORD, Host="example.org:5000") == 403
    assert answer(search, password=PASSWORD, Origin="http://example.org") == 403
    assert answer(search, password=PASSWORD, Origin=page) == 200


@needs_flask_wtf
def test_elsewhere_the_dashboard_stays_on_loopback_and_says_how_to_reach_it(
    elsewhere: tuple[dict[str, str], str],
) -> None:
    addresses, said = elsewhere
    dashboard = addresses["optuna-dashboard"]
    assert dashboard.startswith("http://127.0.0.1:")
    port = dashboard.rpartition(":")[2]
    assert f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}" in said
    with pytest.raises(OSError, match="refused"):
        answer(f"http://{ELSEWHERE}:{port}/dashboard")


@needs_flask_wtf
def test_all_addresses_are_answered_under_each_of_them(searched: Workplace) -> None:
    with ui(searched, "--host", "0.0.0.0", environment=searched.environment | AUTHENTICATION | FEW) as (
        process,
        addresses,
    ):
        port = addresses["MLflow"].rpartition(":")[2]
        assert answer(addresses["MLflow"]) == 401
        for name in ("localhost", "127.0.0.1", socket.gethostname().lower()):
            assert answer(addresses["MLflow"], password=PASSWORD, Host=f"{name}:{port}") == 200
        process.send_signal(signal.SIGINT)
        process.communicate()


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (
            {"MLFLOW_AUTH_ADMIN_PASSWORD": "elevenchars"},
            "a password of at least 12 characters in MLFLOW_AUTH_ADMIN_PASSWORD",
        ),
        ({"MLFLOW_FLASK_SERVER_SECRET_KEY": ""}, "a random text in MLFLOW_FLASK_SERVER_SECRET_KEY"),
    ],
)
def test_without_what_authentication_needs_nothing_is_served(
    workplace: Workplace, missing: dict[str, str], told: str
) -> None:
    environment = workplace.environment | AUTHENTICATION | missing
    code, output = workplace.run("variantlab", "ui", "--host", ELSEWHERE, environment=environment)
    assert code == 2
    assert told in output
    assert "elevenchars" not in output
    assert output.count("\n") == 1
    assert not list(workplace.folder.iterdir())


def test_without_flask_wtf_nothing_is_served(workplace: Workplace) -> None:
    needed = (ROOT / "requirements.txt").read_text()
    packages = [
        line for line in needed.splitlines() if re.match(r"(mlflow|torch|click|filelock|psutil|sqlalchemy)==", line)
    ]
    programs = clean_environment(workplace.folder / "clean", packages)
    environment = workplace.environment | AUTHENTICATION | {"PYTHONPATH": str(ROOT)}
    command = (str(programs / "python"), "-m", "pipeline", "ui", "--host", ELSEWHERE)
    code, output = workplace.run(*command, environment=environment)
    assert code == 2, output
    assert "without the package Flask-WTF (pip install 'variantlab[auth]')" in output


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name", ""])
def test_what_is_no_address_of_this_machine_is_refused(workplace: Workplace, host: str) -> None:
    code, output = workplace.run(
        "variantlab", "ui", f"--host={host}", environment=workplace.environment | AUTHENTICATION
    )
    assert code == 2
    assert "--host must be an address or a name of this machine" in output


def test_both_answer_until_they_are_interrupted_and_nothing_is_left(searched: Workplace) -> None:
    """Under another name of loopback than its address, without a password, and where another has a usual port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 8080))
            other.listen()
        except OSError:
            pass  # somebody else has taken it already
        with ui(searched, "--host", "localhost") as (process, addresses):
            assert set(addresses) == {"MLflow", "optuna-dashboard"}
            assert addresses["MLflow"].startswith("http://localhost:")
            assert not addresses["optuna-dashboard"].endswith(":8080")
            assert [answer(address) for address in addresses.values()] == [200, 200]
            assert answer(f"{addresses['optuna-dashboard']}/api/studies") == 200
            servers = family_of(process.pid)[1:]
            assert len(servers) >= 2
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            assert "stopped" in process.stdout.read()
            assert process.wait() == 0
    assert not psutil.wait_procs(servers, timeout=10)[1]


def test_one_that_dies_takes_the_other_with_it(searched: Workplace) -> None:
    with ui(searched) as (process, _):
        servers = family_of(process.pid)[1:]
        started = psutil.Process(process.pid).children()
        [dashboard] = [each for each in started if "optuna-dashboard" in " ".join(each.cmdline())]
        dashboard.kill()
        said, _ = process.communicate()
        assert process.returncode not in (0, 130)
    assert "Error: optuna-dashboard has stopped by itself (status -9)" in said
    assert not psutil.wait_procs(servers, timeout=10)[1]


def test_without_a_study_there_is_mlflow_alone_and_no_empty_database(workplace: Workplace) -> None:
    with ui(workplace) as (process, addresses):
        assert set(addresses) == {"MLflow"}
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    assert not (workplace.folder / "optuna.db").exists()

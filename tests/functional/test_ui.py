"""`variantlab ui` as a person uses it: both user interfaces over the stores of a folder, until Ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
import urllib.request

import psutil
import pytest

from tests.functional.conftest import Workplace
from tests.functional.viewers import ui


@pytest.fixture
def searched(workplace: Workplace, small: dict[str, str]) -> Workplace:
    options = [f"--{name}={value}" for name, value in small.items()]
    code, said = workplace.variantlab("search", "--model=mlp", "--n-trials=2", "--folds=2", *options)
    assert code == 0, said
    return workplace


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def answer(address: str) -> int:
    with urllib.request.urlopen(address) as response:
        return int(response.status)


def test_both_answer_until_they_are_interrupted_and_nothing_is_left(searched: Workplace) -> None:
    with ui(searched) as (process, addresses):
        assert set(addresses) == {"MLflow", "optuna-dashboard"}
        assert [answer(address) for address in addresses.values()] == [200, 200]
        assert answer(f"{addresses['optuna-dashboard']}/api/studies") == 200
        servers = family(process)
        assert len(servers) >= 2
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert "stopped" in process.stdout.read()
        assert process.wait() == 0
    assert not psutil.wait_procs(servers, timeout=10)[1]


def test_ports_that_are_taken_are_left_to_others(searched: Workplace) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 8080))
            other.listen()
        except OSError:
            pass  # somebody else has taken it already
        with ui(searched) as (process, addresses):
            assert not addresses["optuna-dashboard"].endswith(":8080")
            assert answer(addresses["optuna-dashboard"]) == 200
            process.send_signal(signal.SIGTERM)
            process.communicate()
            assert process.returncode == 143


def test_one_that_dies_takes_the_other_with_it(searched: Workplace) -> None:
    with ui(searched) as (process, _):
        servers = family(process)
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
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert not (workplace.folder / "optuna.db").exists()

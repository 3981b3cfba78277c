"""A registered model answers in an environment that has what it asks for, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from tests.families import family_of
from tests.functional.clean_environment import clean_environment
from tests.functional.conftest import Workplace

CHAMPION = "models:/less-or-equal@champion"


@dataclass(frozen=True)
class Elsewhere:
    """A store with a champion, and an environment for it."""

    workplace: Workplace
    programs: Path
    request: Path
    """File with samples as JSON."""
    expected: NDArray[np.float32]
    """What the model says of them here."""

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in self.workplace.environment.items() if name != "PYTHONPATH"}
        return inherited | {"PATH": f"{self.programs}{os.pathsep}/usr/bin{os.pathsep}/bin"}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command there."""
        program, *arguments = command
        return self.workplace.start(str(self.programs / program), *arguments, environment=self.environment)

    def run(self, *command: str) -> tuple[int, str]:
        """The same to its end: its exit code and all that it printed."""
        program, *arguments = command
        return self.workplace.run(str(self.programs / program), *arguments, environment=self.environment)


@pytest.fixture(scope="module")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory, furnished: Callable[[Path], Workplace], small: dict[str, str]
) -> Elsewhere:
    workplace = furnished(tmp_path_factory.mktemp("lab"))
    options = [f"--{name}={value}" for name, value in small.items()]
    code, said = workplace.variantlab(
        "evaluate", "--model=mlp_ws_al", "--preset=report", "--rounds=1", "--register=less-or-equal", *options
    )
    assert code == 0, said
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", workplace.tracking_uri)
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        mlflow.set_tracking_uri(workplace.tracking_uri)
        mlflow.set_registry_uri(workplace.tracking_uri)
        loaded = mlflow.pyfunc.load_model(CHAMPION)
        requirements = Path(mlflow.pyfunc.get_model_dependencies(CHAMPION)).read_text().split()
    samples = loaded.input_example
    request = workplace.folder / "request.json"
    request.write_text(json.dumps({"inputs": samples.tolist()}))
    return Elsewhere(
        workplace=workplace,
        programs=clean_environment(workplace.folder / "clean", requirements),
        request=request,
        expected=loaded.predict(samples),
    )


@pytest.fixture
def server(elsewhere: Elsewhere) -> Iterator[str]:
    """The address of the model as a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with elsewhere.start(
        *("mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Uvicorn running on" in line:  # said once it listens, which is after "Application startup complete"
                break
        else:
            pytest.fail(said)
        family = family_of(process.pid)
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGTERM)
        assert not psutil.wait_procs(family, timeout=30)[1]


def test_the_environment_has_nothing_of_this_package(elsewhere: Elsewhere) -> None:
    for missing in ("pipeline", "optuna", "torchvision"):
        code, said = elsewhere.run("python", "-c", f"import {missing}")
        assert code != 0
        assert f"No module named '{missing}'" in said


def test_predict_gives_the_same_probabilities(elsewhere: Elsewhere) -> None:
    output = elsewhere.workplace.folder / "answer.json"
    code, said = elsewhere.run(
        *("mlflow", "models", "predict", "-m", CHAMPION, "--env-manager", "local", "-t", "json"),
        *("-i", str(elsewhere.request), "-o", str(output)),
    )
    assert code == 0, said
    np.testing.assert_allclose(json.loads(output.read_text())["predictions"], elsewhere.expected, atol=1e-6)


def test_a_server_gives_the_same_probabilities(elsewhere: Elsewhere, server: str) -> None:
    request = urllib.request.Request(
        f"{server}/invocations", elsewhere.request.read_bytes(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    np.testing.assert_allclose(answer["predictions"], elsewhere.expected, atol=1e-6)

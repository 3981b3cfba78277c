"""A project folder as a person has it, with stores of its own; commands run in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow.entities import Run
from sqlalchemy import NullPool

from tests.preloaded import Command, can_be_forked

ROOT = Path(__file__).parents[2]
SMALL = {"pairs": "60", "workers": "2"}


@dataclass(frozen=True)
class Workplace:
    """A folder, and commands that run in it; stores are SQLite files in it unless others are named."""

    folder: Path
    tracking: str = ""
    studies: str = ""

    @property
    def tracking_uri(self) -> str:
        return self.tracking or f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def storage(self) -> str:
        return self.studies or f"sqlite:///{self.folder / 'optuna.db'}"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "VARIANTLAB_CACHE": str(self.folder / "cache"),
        }

    def start(
        self, *command: str, environment: Mapping[str, str] | None = None, changed_by: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start a command in the folder, in a process group of its own.

        Its process may be changed before it begins: by a function of tests.changes, and its arguments.
        """
        environment = environment or self.environment
        if command[0] == "variantlab" and can_be_forked("variantlab", environment):
            return Command(command, self.folder, environment, changed_by)
        assert not changed_by, "only what is forked can be changed"
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, changed_by: Sequence[str] = ()
    ) -> tuple[int, str]:
        """Run a command to its end: its exit code and all that it printed."""
        with self.start(*command, environment=environment, changed_by=changed_by) as process:
            output, _ = process.communicate()
        return process.returncode, output

    def mlflow_run(self, entry_point: str, **parameters: str) -> tuple[int, str]:
        """`mlflow run` in the present environment."""
        given = [part for name, value in parameters.items() for part in ("-P", f"{name}={value}")]
        command = "mlflow", "run", str(ROOT), "--env-manager", "local", "-e", entry_point, *given
        if not can_be_forked("mlflow", self.environment):
            return self.run(*command)
        with Command(command, self.folder, self.environment) as process:
            output, _ = process.communicate()
        return process.returncode, output

    def variantlab(self, *arguments: str) -> tuple[int, str]:
        """The console script."""
        return self.run("variantlab", *arguments)

    def runs(self, condition: str = "") -> list[Run]:
        """Runs of every experiment, oldest first."""
        client = mlflow.MlflowClient(self.tracking_uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found: list[Run] = client.search_runs(experiments, condition, order_by=["attributes.start_time ASC"])
        return found

    def study(self) -> optuna.Study:
        """The only study."""
        # Without a pool, whose connections a server would count long after the study has been read.
        storage = optuna.storages.RDBStorage(self.storage, engine_kwargs={"poolclass": NullPool})
        [name] = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage)


@pytest.fixture(scope="session")
def small() -> dict[str, str]:
    """Parameters of a tiny budget."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def furnished(empty_studies: Path, empty_runs: Path) -> Callable[[Path], Workplace]:
    """Makes workplaces of folders, with databases that have their tables; a command makes these if there are none."""

    def furnish(folder: Path) -> Workplace:
        for database in (empty_studies, empty_runs):
            shutil.copy(database, folder)
        return Workplace(folder)

    return furnish


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)

"""The wheel, built from the source archive and installed, in an empty folder: no checkout is near."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
import venv
import zipfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.functional.conftest import ROOT, Workplace
from tests.functional.viewers import ui
from tests.idx_files import make_clothes, write_idx_folder

TINY = ["--samples=60", "--workers=1"]
IN_ONE_PROCESS = """
import contextlib, io, json, sys
from pipeline.cli import main

said = []
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            main(arguments)
        except SystemExit as end:
            said.append((end.code, out.getvalue()))
print(json.dumps(said))
"""
"""Runs commands one after the other: each process takes seconds to import what they need."""


@dataclass(frozen=True)
class Installation(Workplace):
    """An empty folder, in which the commands are those of an environment that has the wheel."""

    archives: Path = Path()
    """Folder of the wheel and the source archive."""

    @property
    def python(self) -> str:
        return str(self.archives / "venv" / "bin" / "python")

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(self.python).parent}{os.pathsep}{os.environ['PATH']}"
        return {name: value for name, value in super().environment.items() if name != "PYTHONPATH"} | {"PATH": path}

    @property
    def wheel(self) -> Path:
        [found] = self.archives.glob("*.whl")
        return found

    @property
    def source(self) -> Path:
        [found] = self.archives.glob("*.tar.gz")
        return found


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel in an environment that borrows the dependencies of this one.

    They are seen by a line in a .pth file. Those in their own folder are not read, so an editable install is not seen.
    """
    archives = tmp_path_factory.mktemp("archives")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(archives), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    made = Installation(tmp_path_factory.mktemp("empty"), archives=archives)
    venv.create(archives / "venv")
    install = ["install", "--quiet", "--no-deps", "--no-index", str(made.wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", made.python, *install], check=True)
    [packages] = (archives / "venv").glob("lib/python*/site-packages")
    borrowed = [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    (packages / "borrowed.pth").write_text("".join(f"{folder}\n" for folder in borrowed))
    return made


@pytest.fixture(scope="module")
def searched(installation: Installation) -> Installation:
    """The same after a search."""
    code, said = installation.variantlab("search", "--model=mlp", "--n-trials=2", "--folds=2", "--recheck=0", *TINY)
    assert code == 0, said
    return installation


@pytest.fixture(scope="module")
def told(searched: Installation) -> dict[str, tuple[int, str]]:
    """Code and output of the commands that need no process of their own."""
    commands = {
        "version": ["--version"],
        "models": ["models"],
        "spaces": ["spaces", "check"],
        "a space": ["spaces", "check", "search_spaces/reports/000_table_1.yaml", "--model=mlp"],
        "its short name": ["spaces", "check", "reports/000_table_1.yaml", "--model=mlp"],
        "plan": ["plan", "search", "--model=mlp", "--sampler=grid", "--space=reports/000_table_1.yaml", *TINY],
        "evaluate": ["evaluate", "--model=mlp", "--rounds=2", *TINY],
        "compare": ["compare"],
        "reproduce": ["reproduce", "001/table-3", "--missing=leave", "--dataset=mnist5k"],
        "doctor": ["doctor"],
    }
    code, said = searched.run(searched.python, "-c", IN_ONE_PROCESS, json.dumps(list(commands.values())))
    assert code == 0, said
    return dict(zip(commands, json.loads(said.splitlines()[-1]), strict=True))


def test_the_code_is_that_of_the_wheel(installation: Installation) -> None:
    script = "import pipeline, variantlab; print(pipeline.__file__, variantlab.__file__, variantlab.__version__)"
    code, said = installation.run(installation.python, "-c", script)
    assert code == 0, said
    *modules, version = said.split()
    assert all(Path(module).is_relative_to(installation.archives) for module in modules)
    assert f"-{version}-" in installation.wheel.name


def test_the_public_package_imports_nothing_heavy(installation: Installation) -> None:
    heavy = ("torch", "mlflow", "optuna", "numpy", "click")
    script = f"import sys, variantlab; print([name for name in {heavy} if name in sys.modules])"
    assert installation.run(installation.python, "-c", script) == (0, "[]\n")


def test_every_command_works_in_an_empty_folder(told: dict[str, tuple[int, str]]) -> None:
    assert {name: code for name, (code, _) in told.items() if code != 0} == {}, told


def test_what_comes_with_the_code_is_that_of_the_checkout(told: dict[str, tuple[int, str]]) -> None:
    spaces = sorted(
        path.relative_to(ROOT / "search_spaces").as_posix() for path in ROOT.glob("search_spaces/**/*.yaml")
    )
    assert [line.partition(":")[0] for line in told["spaces"][1].splitlines()] == spaces
    assert "epochs: 25 to 50, 2 values" in told["a space"][1]
    assert told["its short name"] == told["a space"]
    assert "The linear network with and without dropout" in told["reproduce"][1]
    assert "| NOT WELL |" not in told["doctor"][1]


def test_runs_say_which_version_they_are_of_and_no_commit(
    searched: Installation, told: dict[str, tuple[int, str]]
) -> None:
    assert told["compare"][0] == 0
    for run in searched.runs():
        assert f"-{run.data.tags['variantlab_version']}-" in searched.wheel.name
        assert run.data.tags["git_commit"] == run.data.tags["git_dirty"] == "unknown"


def verdict_of(readme: Path) -> set[str]:
    """The models of the table with which an example's README says that it ends."""
    table = readme.read_text().partition("| behind the best |")[2].partition("\n\n")[0].splitlines()[2:]
    return {line.split("|")[1].strip() for line in table}


@pytest.mark.parametrize("example", ["digits", "fashion", "pairs", "sequences", "table"])
def test_an_example_ends_in_a_verdict_on_the_models_that_it_promises(
    installation: Installation, tmp_path: Path, example: str
) -> None:
    shutil.copy(ROOT / "examples" / example / "study.py", tmp_path)
    write_idx_folder(tmp_path / "fashion", compress=True, images=make_clothes())
    place = replace(installation, folder=tmp_path)
    code, said = place.run(place.python, "study.py")
    assert code == 0, said
    [compared] = [run for run in place.runs() if run.data.tags["role"] == "compare"]
    models = {name.partition("/")[2] for name in compared.data.metrics if name.startswith("rank/")}
    assert models == verdict_of(ROOT / "examples" / example / "README.md")
    assert " has the least mean test " in said


def test_a_new_folder_leads_from_its_readme_to_a_verdict(installation: Installation, tmp_path: Path) -> None:
    code, said = replace(installation, folder=tmp_path).variantlab("new", "leaves")
    assert code == 0, said
    place = replace(installation, folder=tmp_path / "leaves")
    readme = (place.folder / "README.md").read_text()
    commands = [line.split() for line in readme.splitlines() if line.startswith("    variantlab ")]
    assert [command[1] for command in commands] == ["search", "search", "evaluate", "evaluate", "compare"]
    for command in commands:
        code, said = place.run(*command)
        assert code == 0, said
    assert "has the least mean test error" in said
    assert "groups of samples" in said
    roles = Counter(run.data.tags["role"] for run in place.runs())
    assert (roles["search"], roles["evaluate"], roles["compare"]) == (2, 2, 1)


def test_both_user_interfaces_answer(searched: Installation) -> None:
    with ui(searched) as (process, addresses):
        assert set(addresses) == {"MLflow", "optuna-dashboard"}
        for address in addresses.values():
            with urllib.request.urlopen(address) as response:
                assert response.status == 200
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 0


def test_packages_fit_and_archives_are_well_formed(installation: Installation) -> None:
    pip = [sys.executable, "-m", "pip", "--python", installation.python, "check"]
    twine = [sys.executable, "-m", "twine", "check", "--strict", str(installation.wheel), str(installation.source)]
    contents = [
        sys.executable,
        "-m",
        "check_wheel_contents",
        "--config",
        str(ROOT / "pyproject.toml"),
        str(installation.wheel),
    ]
    for command in (pip, twine, contents):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_archives_hold_the_packages_and_what_is_needed_to_build_them(installation: Installation) -> None:
    with zipfile.ZipFile(installation.wheel) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
        assert {"pipeline/py.typed", "variantlab/py.typed"} <= set(wheel.namelist())
        licences = {Path(name).name for name in wheel.namelist() if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pipeline", "variantlab"}
    with tarfile.open(installation.source) as source:
        tops = {name.split("/")[1] for name in source.getnames()}
    packed = {"pipeline", "variantlab", "search_spaces", "published", "examples", "pyproject.toml"}
    texts = {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "NOTICE"}
    assert tops == packed | texts | {"PKG-INFO", ".gitignore"}

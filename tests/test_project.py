"""The files around the package agree with one another."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import variantlab
from pipeline.cli import main

ROOT = Path(__file__).parents[1]
COMMANDS = ("prepare", "cross_validate", "search", "evaluate", "compare", "main", "reproduce")


@pytest.fixture(scope="module")
def entry_points() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    return loaded


def options_of(command: str) -> list[click.Option]:
    """All but `--dry-run`, as MLflow makes a run before it starts anything, and `--task`, which it would log."""
    options = [option for option in main.commands[command].params if isinstance(option, click.Option)]
    return [option for option in options if option.name not in ("dry_run", "task")]


def in_project(option: click.Option) -> str:
    """What `MLproject` calls an option."""
    return option.opts[0].removeprefix("--")


def arguments_of(command: str) -> list[str]:
    return [str(part.name) for part in main.commands[command].params if isinstance(part, click.Argument)]


def test_the_entry_points_are_the_commands(entry_points: dict[str, Any]) -> None:
    printing = {"new", "models", "plan", "spaces", "runs", "ui", "doctor"}  # they track nothing
    assert set(entry_points) == set(COMMANDS) == set(main.commands) - printing


@pytest.mark.parametrize("command", COMMANDS)
def test_entry_point_parameters_are_the_options_with_the_same_defaults(
    entry_points: dict[str, Any], command: str
) -> None:
    declared = {
        name: None if "default" not in parameter else str(parameter["default"])
        for name, parameter in entry_points[command]["parameters"].items()
    }
    arguments = dict.fromkeys(arguments_of(command))
    options = {
        in_project(option).replace("-", "_"): None if option.required else str(option.default)
        for option in options_of(command)
    }
    assert declared == arguments | options


@pytest.mark.parametrize("command", COMMANDS)
def test_entry_points_pass_every_parameter_unquoted(entry_points: dict[str, Any], command: str) -> None:
    """MLflow quotes values itself; a quoted placeholder would let a value end the quotes and run as code."""
    program, *arguments = re.split(r"\s+--", entry_points[command]["command"].strip())
    start = ["VARIANTLAB_LAUNCHER=$PPID", "python", "-m", "pipeline", command]
    assert program.split() == [*start, *(f"{{{name}}}" for name in arguments_of(command))]
    names = [in_project(option) for option in options_of(command)]
    assert arguments == [f"{name}={{{name.replace('-', '_')}}}" for name in names]


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def asked_for(*groups: str) -> list[Requirement]:
    """What the project depends on, and these extras bring; the empty name is for the first."""
    project = pyproject()["project"]
    listed = {"": project["dependencies"], **project["optional-dependencies"]}
    return [Requirement(text) for group in groups for text in listed[group]]


def imported() -> set[str]:
    """The modules from elsewhere that the package imports, by their first names."""
    names: set[str] = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"pipeline"}


def test_what_is_imported_is_depended_on_and_nothing_else() -> None:
    by_module = packages_distributions()
    depended_on = {canonicalize_name(requirement.name) for requirement in asked_for("")}
    providers = {module: {canonicalize_name(name) for name in by_module[module]} for module in imported()}
    assert [module for module, names in providers.items() if not names & depended_on] == []
    assert depended_on - set().union(*providers.values()) == {"cmaes"}  # which Optuna imports


def test_dependencies_are_ranges_that_begin_where_they_were_tried_and_pins_are_in_the_lock_alone() -> None:
    for requirement in asked_for("", "auth", "postgres", "ui"):
        operators = {each.operator for each in requirement.specifier}
        assert operators in ({">="}, {">=", "<"}), requirement


def locked() -> dict[str, tuple[Version, bool]]:
    """Package -> the version in the lock, and whether it stands there because pyproject.toml asks for it."""
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text())
    pins = (re.match(r"([\w.-]+)==([^\s;]+)", block) for block in blocks)
    return {
        pin[1]: (Version(pin[2]), "variantlab (pyproject.toml)" in block)
        for pin, block in zip(pins, blocks, strict=True)
        if pin
    }


def test_the_lock_holds_what_pyproject_asks_for_and_nothing_that_it_does_not() -> None:
    wanted = {requirement.name: requirement for requirement in asked_for("", "postgres", "ui")}
    pins = locked()
    for name, requirement in wanted.items():
        assert name in pins, f"{name} is not locked; run `make lock`"
        assert pins[name][0] in requirement.specifier, f"{name} is locked outside its range; run `make lock`"
    assert {name for name, (_, direct) in pins.items() if direct} == set(wanted), "run `make lock`"


def test_whoever_cites_this_finds_its_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == variantlab.__version__
    assert citation["license"] == pyproject()["project"]["license"]


def test_every_report_whose_figures_are_here_is_credited() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for path in sorted((ROOT / "published").glob("[0-9]*.yaml")):
        report = yaml.safe_load(path.read_text())
        assert f"{report['report']}  {report['authors']}:" in notice
        assert report["title"] in notice


def test_both_environment_files_point_to_the_lock() -> None:
    python_env = yaml.safe_load((ROOT / "python_env.yaml").read_text())
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert python_env["dependencies"] == ["-r requirements.txt"]
    assert conda["dependencies"][-1] == {"pip": ["-r requirements.txt"]}
    minor = ".".join(python_env["python"].split(".")[:2])
    assert f"python={minor}" in conda["dependencies"]
    assert Version(python_env["python"]) in Requirement(f"x{pyproject()['project']['requires-python']}").specifier


def test_the_project_uses_one_environment_file() -> None:
    project = yaml.safe_load((ROOT / "MLproject").read_text())
    assert project["python_env"] == "python_env.yaml"
    assert "conda_env" not in project

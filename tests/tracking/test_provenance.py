"""Runs name the commit of this code, and never that of a repository which merely surrounds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import variantlab

ROOT = Path(__file__).parents[2]
SCRIPT = "import json; from pipeline.tracking.provenance import code_tags; print(json.dumps(code_tags()))"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody's repository, with one commit."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    return tmp_path


def put(folder: Path, *, with_project: bool) -> Path:
    """The code in a folder, as an installation has it, or with the project's file as sources have it."""
    folder.mkdir(exist_ok=True)
    for package in ("pipeline", "variantlab"):
        (folder / package).symlink_to(ROOT / package)
    if with_project:
        shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def tags(folder: Path, **variables: str) -> dict[str, str]:
    """What the code there says of itself, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(folder), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    assert found.pop("variantlab_version") == variantlab.__version__
    return found


@pytest.mark.parametrize("with_project", [False, True], ids=["installed", "unpacked"])
def test_the_commit_of_a_repository_around_the_code_is_not_its_own(repository: Path, with_project: bool) -> None:
    found = tags(put(repository / "inside", with_project=with_project))
    assert found == {"git_commit": "unknown", "git_dirty": "unknown"}


def test_a_checkout_has_a_commit_whatever_repository_a_hook_of_git_is_run_for(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("own")
    git(own, "init", "--quiet")
    put(own, with_project=True)
    git(own, "add", ".")
    git(own, "commit", "--quiet", "--message", "Begin")
    commit = git(own, "rev-parse", "HEAD")
    clean = {"git_commit": commit, "git_dirty": "false", "mlflow.source.git.commit": commit}
    assert tags(own, GIT_DIR=str(repository / ".git")) == clean
    (own / "new").write_text("")
    assert tags(own)["git_dirty"] == "true"

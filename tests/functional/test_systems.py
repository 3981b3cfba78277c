"""A search on a system that lacks what Linux alone has."""

from __future__ import annotations

import os
from pathlib import Path

from tests.functional.conftest import ROOT, Workplace

NOT_LINUX = """
import ctypes, os, pathlib, select, signal, sys, sysconfig

for module, names in {
    os: ("sched_getaffinity", "sched_setaffinity", "pidfd_open", "memfd_create", "posix_fadvise", "eventfd"),
    signal: ("pidfd_send_signal",),
    select: ("epoll",),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

import psutil, urllib.request  # of which the parts for Linux have to be loaded

def is_hidden(path):
    return str(path).startswith(("/proc", "/etc/machine-id"))

def hiding(function):
    def hidden(path, *arguments, **options):
        if is_hidden(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **options)
    return hidden

os.stat = hiding(os.stat)
pathlib.Path.open = hiding(pathlib.Path.open)

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name == "mallopt":
            raise AttributeError(name)
        return super().__getattr__(name)

ctypes.CDLL = Library
sysconfig.get_config_vars()  # while it finds them
sys.modules["triton"] = None  # torch brings it on Linux
sys.platform = "darwin"
"""
"""Runs at the start of each process of a search, its workers too."""


def test_a_search_needs_nothing_that_linux_alone_has(workplace: Workplace) -> None:
    (workplace.folder / "site").mkdir()
    (workplace.folder / "site" / "sitecustomize.py").write_text(NOT_LINUX)
    path = os.pathsep.join([str(workplace.folder / "site"), str(ROOT)])
    arguments = ("--model=mlp", "--n-trials=2", "--folds=2", "--recheck=0", "--samples=60", "--workers=auto")
    environment = workplace.environment | {"PYTHONPATH": path, "VARIANTLAB_LAUNCHER": str(os.getpid())}
    code, output = workplace.run("variantlab", "search", *arguments, environment=environment)
    assert code == 0, output
    assert "Traceback" not in output
    assert [trial.state.name for trial in workplace.study().trials] == ["COMPLETE"] * 2
    [search] = workplace.runs("tags.role = 'search'")
    assert search.info.status == "FINISHED"
    assert search.data.tags["process"].split(".")[-3] == "-"  # no boot is known: the process saw a system without /proc


def test_no_file_of_the_package_names_a_path_that_linux_alone_has() -> None:
    named = {
        path.relative_to(ROOT).as_posix()
        for path in Path(ROOT, "pipeline").rglob("*.py")
        if "/proc/" in path.read_text()
    }
    assert named == {"pipeline/base/processes.py", "pipeline/training/machine.py"}  # both have other ways

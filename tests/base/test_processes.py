from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.base import processes
from pipeline.base.processes import RANDOM_NODE, end_with, is_dead, process_tag, show_process


def test_this_process_lives() -> None:
    assert not is_dead(process_tag())
    assert not is_dead(process_tag(os.getppid()))


def test_a_process_that_has_ended_is_dead_even_before_its_parent_knows() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        tag = process_tag(process.pid)
        assert not is_dead(tag)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(tag)
    assert is_dead(tag)


def test_a_later_process_of_the_same_id_is_another_one() -> None:
    assert is_dead(process_tag() + "1")


def test_processes_of_an_earlier_start_of_the_machine_are_dead() -> None:
    host, pid, start = process_tag().rsplit(":", 2)
    machine, _, *rest = start.split(".")
    assert is_dead(f"{host}:{pid}:{'.'.join((machine, 'before', *rest))}")


@pytest.mark.parametrize("part", ["host", "machine", "namespace"])
def test_nothing_is_known_of_processes_elsewhere(part: str) -> None:
    host, pid, start = process_tag().rsplit(":", 2)
    machine, boot, namespace, ticks = start.split(".")
    parts = {"host": host, "machine": machine, "namespace": namespace} | {part: "other"}
    assert not is_dead(f"{parts['host']}:{pid}:{parts['machine']}.{boot}.{parts['namespace']}.{ticks}0")


@pytest.mark.parametrize("text", ["", "host", "host:1", "host:1:1.00", "a:b:c:d", "host:x:a.b.c.d"])
def test_nothing_is_known_of_what_is_no_tag(text: str) -> None:
    assert not is_dead(text)


def test_the_time_of_day_is_no_part_of_a_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own idea of when a process was made moves with its clock."""
    before = process_tag()
    created = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + timedelta(hours=1).total_seconds())
    assert process_tag() == before


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system that tells nothing by files, and has no file descriptors of processes."""
    hidden = ("/proc", "/etc/machine-id")
    stat, read = os.stat, Path.read_text

    def stat_others(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(hidden):
            raise FileNotFoundError(errno.ENOENT, "hidden", str(path))
        return stat(path, **options)

    def read_others(path: Path, *arguments: Any, **options: Any) -> str:
        return read(Path("/nowhere") if str(path).startswith(hidden) else path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat_others)
    monkeypatch.setattr(Path, "read_text", read_others)
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    found: list[Any] = [processes._machine]
    if hasattr(psutil._psposix, "can_use_pidfd_open"):  # not so in psutil 6
        found.append(psutil._psposix.can_use_pidfd_open)
    for each in found:
        each.cache_clear()
    yield
    for each in found:
        each.cache_clear()


@pytest.mark.usefixtures("without_proc")
@pytest.mark.parametrize("node", [0x0242AC110002, 0x0242AC110002 | RANDOM_NODE])
def test_without_proc_a_process_is_known_by_its_time_of_start(monkeypatch: pytest.MonkeyPatch, node: int) -> None:
    monkeypatch.setattr(uuid, "getnode", lambda: node)
    tag = process_tag()
    assert not is_dead(tag)
    assert is_dead(f"{tag}1")
    machine = tag.rsplit(":", 1)[1].split(".")[0]
    assert (machine == "-") == bool(node & RANDOM_NODE)
    assert is_dead(tag.replace(f":{machine}.", ":other.")) is None


@pytest.mark.usefixtures("without_proc")
def test_without_descriptors_of_processes_the_end_of_one_is_noticed() -> None:
    ended = threading.Event()

    def hear(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        ended.set()

    before = signal.signal(signal.SIGTERM, hear)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        end_with(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert ended.wait(30)
    signal.signal(signal.SIGTERM, before)


def test_people_read_the_process_and_where_it_is() -> None:
    assert show_process(process_tag()) == f"process {os.getpid()}"
    assert show_process("lab:7:a.b.c.1") == "process 7 on lab"


LAUNCHED = """
import os, sys
from pipeline.base.interruptions import raise_on_signals
from pipeline.base.processes import end_with

raise_on_signals()
end_with(int(os.environ["LAUNCHER"]))
print("ready", flush=True)
sys.stdin.read()
"""
LAUNCHER = """
import os, subprocess, sys

with subprocess.Popen(["sh", "-c", f"LAUNCHER=$PPID {sys.executable} -c '{os.environ['PROGRAM']}'; echo $?"]):
    sys.stdin.read()
"""


def test_a_process_ends_with_the_one_that_launched_it_through_a_shell() -> None:
    command = [sys.executable, "-c", LAUNCHER]
    environment = os.environ | {"PROGRAM": LAUNCHED}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "ready\n"
        launcher.kill()
        assert launcher.stdout.read() == "143\n"


def test_a_process_whose_launcher_has_ended_before_ends_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as launcher:
        launcher.wait()
    environment = os.environ | {"LAUNCHER": str(launcher.pid)}
    with subprocess.Popen([sys.executable, "-c", LAUNCHED], env=environment, stdin=subprocess.PIPE) as process:
        assert process.wait() == 143

"""Who a process is, so that another one can tell later whether it still runs.

A process is told from a later one of the same id by when it started, counted from when the machine did: the time of day
can be set while it runs, and nobody may be declared dead for that.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import threading
import time
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

RANDOM_NODE = 1 << 40
"""The bit that Python sets in the address of a network card that it could not find and has made up."""
AGAIN_SECONDS = 1.0
"""When a signal is sent again: one that arrives just before a call that blocks is heard only when the call returns."""


def process_tag(pid: int | None = None) -> str:
    """Host, process id and start of a process: `host:pid:machine.boot.namespace.start`.

    Raises psutil.NoSuchProcess when there is none of this id, or when it has ended and its parent was not told yet.
    """
    process = psutil.Process(pid or os.getpid())
    if process.status() == psutil.STATUS_ZOMBIE:
        raise psutil.NoSuchProcess(process.pid)
    return f"{socket.gethostname()}:{process.pid}:{'.'.join(_machine())}.{_started(process)}"


def cores() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def folder_of(pid: int) -> str:
    """The working folder of a process; empty where the system does not say."""
    try:
        return psutil.Process(pid).cwd()
    except (psutil.Error, OSError):
        return ""


def is_dead(tag: str) -> bool | None:
    """Whether the process of this tag runs no more; None of processes on other machines, of which nothing is known."""
    try:
        host, pid, start = tag.rsplit(":", 2)
        machine, boot, namespace, _ = start.split(".")
    except ValueError:
        return None
    my_machine, my_boot, my_namespace = _machine()
    if (host, machine) != (socket.gethostname(), my_machine):
        return None
    if boot != my_boot:
        return True
    if namespace != my_namespace:  # of another container: its ids mean nothing here
        return None
    try:
        return process_tag(int(pid)) != tag
    except psutil.NoSuchProcess:
        return True


def show_process(tag: str) -> str:
    """A tag as people read it."""
    host, pid, *_ = tag.split(":")
    return f"process {pid}" if host == socket.gethostname() else f"process {pid} on {host}"


@cache
def _machine() -> tuple[str, str, str]:
    """What tells this machine from others, this start of it from others, and this container from others."""
    machine, boot = (
        _digest(Path(path).read_bytes()) if Path(path).is_file() else "-"
        for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")
    )
    if machine == boot == "-":  # not Linux: names of hosts are not unique, addresses of network cards are
        node = uuid.getnode()
        machine = "-" if node & RANDOM_NODE else _digest(node.to_bytes(6))
    try:
        return machine, boot, str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return machine, boot, "-"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _started(process: psutil.Process) -> str:
    """Clock ticks from the start of the machine to that of the process; where there is no /proc, a time of day."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{process.create_time():.2f}".replace(".", "_")
    return stat.rpartition(")")[2].split()[19]


def end_with(pid: int) -> None:
    """Send this process SIGTERM as soon as another one has ended, which may be now."""
    threading.Thread(target=_end_with, args=(pid,), name="launcher", daemon=True).start()


def terminate_program(pid: int, program: str, command: str) -> None:
    """Send a process SIGTERM if it runs a command of a program that is named on its command line."""
    with suppress(psutil.Error):  # it may have ended already
        process = psutil.Process(pid)
        words = [Path(word).name for word in process.cmdline()[:3]]
        if program in words and command in words:
            process.terminate()


def _end_with(pid: int) -> None:
    try:
        select.select([os.pidfd_open(pid)], [], [])  # readable once it has ended
    except (AttributeError, OSError):  # not on Linux, or it has ended before
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait()
    handler = signal.getsignal(signal.SIGTERM)
    while signal.getsignal(signal.SIGTERM) is handler:  # see `raise_on_signals`, which stops once
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(AGAIN_SECONDS)

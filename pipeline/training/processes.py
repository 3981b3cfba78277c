"""How worker processes start: forked from a server that imports PyTorch once for all of them. Imports nothing heavy."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from types import ModuleType

IMPORTED_ONCE = ("pipeline.training.pool", "torch.fx.experimental.symbolic_shapes")
"""What workers need; torch.autograd.backward imports the latter, and SymPy with it, when it is first called."""
LONGEST_FOLDER = 70
"""Bytes of the path of a folder in which a socket still has a name of at most 107, as Linux demands."""


def warm_up() -> None:
    """Have PyTorch imported for the workers of any trainer that there will be, while the caller does something else."""
    if context_of_workers().get_start_method() == "forkserver":
        with main_hidden(), interrupt_blocked():
            forkserver.ensure_running()


def context_of_workers() -> BaseContext:
    """How workers start: where a server cannot fork them, each by itself.

    Apple's frameworks do not survive a fork, and the server's socket is a file in the folder for temporary files.
    """
    if sys.platform == "darwin" or len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    multiprocessing.set_forkserver_preload(list(IMPORTED_ONCE))
    return multiprocessing.get_context("forkserver")


_hiding = threading.RLock()


@contextmanager
def main_hidden() -> Iterator[None]:
    """Processes that start inside do not import the program that starts them: a script that trains as soon as it is
    imported would train in them too. They need nothing of it, since they are sent functions of modules alone."""
    with _hiding:  # or a thread would take another's empty module for the program
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = program


@contextmanager
def interrupt_blocked() -> Iterator[None]:
    """Processes start with SIGINT blocked, so that Ctrl-C does not make them print where in their imports they were."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Contestants in child processes, which obey `prepare` and `train` over a pipe.

A child chooses its core and its environment before it imports anything heavy. It ends with its parent, however that
ends.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from benchmarks.peers import Peer
from benchmarks.work import Curves, Task, Training
from pipeline.base.errors import StageError


class Contestant(Protocol):
    """What the harness measures."""

    @property
    def name(self) -> str:
        """Its column."""

    @property
    def replicas(self) -> int:
        """How many it trains at the same time in the task that it was prepared for."""

    @property
    def least_epochs(self) -> int:
        """What a measurement of the prepared task must at least train to be typical of a whole job."""

    def fits(self, task: Task) -> bool:
        """Whether it can train this model."""

    def prepare(self, task: Task) -> None:
        """Build what does not depend on the number of epochs."""

    def train(self, epochs: int) -> Curves:
        """Train anew from the initial weights."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One message to a child: a task to prepare, or a number of epochs to train."""

    task: Task | None = None
    epochs: int = 0


class ChildContestant:
    """A peer in processes of its own. Use it as a context manager."""

    least_epochs = 1

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection[Order, Any]] = []
        self._processes = []
        for part in range(peer.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, peer, part), daemon=True)
            process.start()
            theirs.close()  # so that reading from a dead child fails instead of waiting
            self._connections.append(ours)
            self._processes.append(process)

    @property
    def name(self) -> str:
        """Its column."""
        return self.peer.name

    @property
    def replicas(self) -> int:
        """Over all processes."""
        return self.peer.replicas * self.peer.processes

    def fits(self, task: Task) -> bool:
        """Whether the peer can train this model."""
        return not self.peer.families or task.variant.family in self.peer.families

    def wait_until_ready(self) -> None:
        """Wait until all processes have imported what they need."""
        self._replies()

    def prepare(self, task: Task) -> None:
        """Build what does not depend on the number of epochs."""
        self._order(Order(task=replace(task, threads=self.peer.threads or task.threads)))

    def train(self, epochs: int) -> Curves:
        """Train in all processes at once; means over them."""
        parts: list[Curves] = self._order(Order(epochs=epochs))
        return Curves(
            loss_E=np.mean([part.loss_E for part in parts], 0).tolist(),
            held_out_error_E=np.mean([part.held_out_error_E for part in parts], 0).tolist(),
        )

    def _order(self, order: Order) -> list[Any]:
        try:
            for connection in self._connections:
                connection.send(order)
        except OSError as error:
            raise self._dead() from error
        return self._replies()

    def _replies(self) -> list[Any]:
        replies = []
        for connection in self._connections:
            try:
                failure, reply = connection.recv()
            except (EOFError, OSError) as error:
                raise self._dead() from error
            if failure:
                raise StageError(f"every contestant must train to the end, but {self.name} failed:\n{failure}")
            replies.append(reply)
        return replies

    def _dead(self) -> StageError:
        return StageError(f"a process of {self.name} died (out of memory?); leave it out with --contestants")

    def __enter__(self) -> ChildContestant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.join()
        for connection in self._connections:
            connection.close()


def _serve(connection: Connection[Any, Any], peer: Peer, part: int) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what becomes of its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(peer.environment)
    if peer.processes > 1 and hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[part % len(cores)]})
    build: Any = None
    training: Training | None = None

    def obey(order: Order) -> Curves | None:
        nonlocal build, training
        if build is None:
            build = importlib.import_module(f"benchmarks.peers.{peer.module}").build
        if order.task is not None:
            training = build(order.task, range(part * peer.replicas, (part + 1) * peer.replicas))
        return training(order.epochs) if training is not None and order.epochs else None

    order = Order()
    while True:
        try:
            connection.send(("", obey(order)))
        except Exception:  # noqa: BLE001 # whatever a library raises is the parent's to tell
            connection.send((traceback.format_exc(), None))
        try:
            order = connection.recv()
        except EOFError:
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

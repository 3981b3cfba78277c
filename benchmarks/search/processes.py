"""Contestants in child processes: each gets ready, waits for its number of trials, searches and ends.

A child leads a process group of its own, and the group ends with the parent, however that ends: so do the processes
that Ray or the command line have started.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.search.contestants import Contestant, Order, Result, together
from benchmarks.search.folds import FoldTask
from benchmarks.work import SEED
from pipeline.base.errors import StageError, VariantlabError

GRACE_SECONDS = 5.0
"""What a child gets to end by itself."""
ROOT = Path(__file__).parents[2]


def run_search(
    contestant: Contestant, task: FoldTask, trials: int, *, workers: int, cache_dir: Path, seed: int = SEED
) -> Result:
    """Let a contestant make so many trials.

    Raises StageError when it fails or dies.
    """
    processes = contestant.processes
    with tempfile.TemporaryDirectory(prefix="search-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        children = [stack.enter_context(Child(contestant.name)) for _ in range(processes)]
        for part, child in enumerate(children):
            child.send(
                Order(
                    contestant=contestant,
                    task=task,
                    parallel=workers // processes,
                    part=part,
                    folder=Path(folder),
                    cache_dir=cache_dir,
                    seed=seed,
                )
            )
        _replies(children)  # nothing is measured beside an import
        for part, child in enumerate(children):
            child.send(len(range(part, trials, processes)))
        return together(_replies(children))


class Child:
    """One process. Use it as a context manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that reading from a dead child fails instead of waiting

    def send(self, message: Order | int) -> None:
        """Give an order, or the number of trials."""
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._dead() from error

    def reply(self) -> Any:
        """Wait for the child: None when it is ready, a result when it has searched."""
        try:
            failure, reply = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._dead() from error
        if failure:
            raise StageError(f"every contestant must search to the end, but {self.name} failed: {failure}")
        return reply

    def _dead(self) -> StageError:
        return StageError(f"a process of {self.name} died (out of memory?); leave it out with --contestants")

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if kind is not None:
            self._process.terminate()
        self._process.join(GRACE_SECONDS)
        if self._process.is_alive():
            assert self._process.pid is not None
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()


def _replies(children: Sequence[Child]) -> list[Any]:
    return [child.reply() for child in children]


def _serve(connection: Connection[Any, Any]) -> None:
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    try:
        order: Order = connection.recv()
        _write_to(order.folder / f"process-{order.part}.log")
        os.environ.update(order.contestant.environment)
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # for the processes that it starts
        module = importlib.import_module(f"benchmarks.search.{order.contestant.module}")
        with module.ready(order) as search:
            connection.send(("", None))
            connection.send(("", search(connection.recv())))
    except EOFError:
        return  # nobody waits any more
    except VariantlabError as error:
        connection.send((str(error), None))
    except Exception:  # noqa: BLE001 # whatever a library raises is the parent's to tell
        connection.send((traceback.format_exc(), None))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGKILL)  # with whatever it has started and not ended


def _write_to(log: Path) -> None:
    """Keep what libraries say from the terminal, also what is not Python's; a failure is told over the pipe."""
    with log.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)

"""Worker processes: one chunk at a time in each, one thread each.

Two processes of one thread are faster and steadier than one process of two threads for nets of this size. They are
forked from a server that imports PyTorch once for all of them. Workers end with their parent, however it ends.
"""

from __future__ import annotations

import ctypes
import io
import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from multiprocessing.process import BaseProcess
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch

from pipeline.base.errors import StageError
from pipeline.base.interruptions import SIGNALS
from pipeline.data.dataset import Dataset
from pipeline.training.chunk import ChunkTraining
from pipeline.training.compute import Compute
from pipeline.training.machine import this_machine
from pipeline.training.plan import Chunk, Job, Outcome, compose_chunks
from pipeline.training.processes import context_of_workers, interrupt_blocked, main_hidden, warm_up
from pipeline.training.step import can_compile
from pipeline.training.ways import check_precision

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called with (replica-epochs done, replica-epochs planned), several times a second."""
Result = TypeVar("Result")
Key = TypeVar("Key")
MAX_REASON = 300
"""Characters of an error that are kept."""
POLL_SECONDS = 0.1
COMPILE_SECONDS, LOAD_SECONDS = 15.0, 3.0
"""What compiling a step takes, and what loading it takes where another worker has compiled it: measured on 2 cores."""
BEST_GAIN = 1.6
"""The most that compiling has gained."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


class Trainer:
    """Trains jobs in worker processes that live as long as it does. Use it as a context manager.

    The workers hold two data sets: what is trained on, and what is held out. A stage that must not see test data passes
    the training data for both, and the test data is nowhere in its workers.
    """

    def __init__(self, train: Dataset, held_out: Dataset, compute: Compute) -> None:
        self._context = context_of_workers()
        self.compute = compute.resolved()
        self.trained: list[Chunk] = []
        """The chunks of all runs so far, in the order of their plans."""
        self.waited = 0.0
        """Seconds of the last run in which nothing was left to train, and `meanwhile` had not ended."""
        self._done: Synchronized[int] = self._context.Value("q", 0)
        # Through shared memory, because a process that is started with large arguments keeps its parent waiting until
        # it has imported what they are made of.
        data = [train] if held_out is train else [train, held_out]
        self._kinds = [type(each) for each in data]
        self._memory = _share(data)
        self._executor = self._start()
        self._workers: list[BaseProcess] = []
        self._training: dict[Future[list[Outcome]], Chunk] = {}
        self._pending: list[Future[Any]] = []
        """What was submitted besides, and is not done."""

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.compute.workers,
            mp_context=self._context,
            initializer=_start_worker,
            initargs=(self._memory.name, self._kinds, self._done, self.compute),
        )

    def _submit(self, call: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Let a worker do something; one is started if there are fewer than there are things to do."""
        self._pending = [future for future in self._pending if not future.done()]
        # The executor starts a worker for each call that finds none idle, and one that still starts is not idle.
        most = min(self.compute.workers, len(self._pending) + 1)
        self._executor._max_workers = most  # type: ignore[attr-defined] # it has no public way to say so
        self.warm_up()
        # A server's workers begin with its mask; this process waits for the server, and must hear Ctrl-C meanwhile.
        with main_hidden(), nullcontext() if self._has_server else interrupt_blocked():
            future = self._executor.submit(call, *arguments)
        self._workers = list(self._executor._processes.values())
        self._pending.append(future)
        return future

    def warm_up(self) -> None:
        """Have PyTorch imported for the workers while the caller does something else; they start once they train."""
        warm_up()

    @property
    def _has_server(self) -> bool:
        """Whether workers are forked from a server, and not started each by itself."""
        return self._context.get_start_method() == "forkserver"

    def is_busy(self) -> bool:
        """Whether there is anything left to train: for `meanwhile`, which had better be over when there is not."""
        return not all(future.done() for future in self._training)

    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress = lambda done, planned: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[list[Outcome]]:
        """Train all jobs; outcomes by job, in the order of its replicas. `meanwhile` is called once they train.

        What raises, or takes its worker process with it (which the system ends when memory is short), gives broken
        outcomes; when a worker dies, what had not ended is tried again alone, so that no other training is blamed.
        """
        composed = compose_chunks(jobs, device=self.compute.device, limit=self.compute.chunk)
        for chunk in composed:
            check_precision(chunk.way, chunk.variant, bfloat16=self.compute.precision == "bfloat16")
        chunks = self._settled(composed)
        self.trained += chunks
        planned = sum(chunk.replica_epochs for chunk in chunks)
        self._done.value, self.waited = 0, 0.0
        outcomes: dict[tuple[int, int], Outcome] = {}

        def show() -> None:
            progress(min(self._done.value, planned), planned)

        def keep(chunk: Chunk, found: Sequence[Outcome]) -> None:
            outcomes.update(zip(chunk.places, found, strict=True))

        left = self._train(sorted(chunks, key=lambda chunk: -chunk.cost), keep, show, meanwhile)
        while left:
            log.warning("a worker process died (%s); what it trained is tried again alone", self._restart())
            while left and not self._train(left[:1], keep, show):
                left = left[1:]
            if left:  # it has died again
                reason = f"its worker process died ({self._restart()})"
                keep(left[0], [Outcome(status="broken", reason=reason) for _ in left[0].replicas])
                left = self._train(left[1:], keep, show)
        return [[outcomes[index, position] for position in range(len(job.replicas))] for index, job in enumerate(jobs)]

    def _train(
        self,
        chunks: Sequence[Chunk],
        keep: Callable[[Chunk, Sequence[Outcome]], None],
        show: Callable[[], None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Chunk]:
        """Train chunks; those that have not ended when a worker died."""
        self._training = futures = dict[Future[list[Outcome]], Chunk]()
        ends = list[float]()
        with suppress(BrokenProcessPool):  # a worker died while there was nothing to train
            for chunk in chunks:
                future = self._submit(_work, chunk)
                futures[future] = chunk
                future.add_done_callback(lambda _: ends.append(time.perf_counter()))
        left = list(chunks[len(futures) :])
        ends.append(time.perf_counter())
        meanwhile()
        if not self.is_busy():
            self.waited += time.perf_counter() - max(ends)
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            show()
            for future in finished:
                chunk, error = futures[future], future.exception()
                if isinstance(error, BrokenProcessPool):
                    left.append(chunk)
                elif isinstance(error, Exception):
                    reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]
                    keep(chunk, [Outcome(status="broken", reason=reason) for _ in chunk.replicas])
                else:
                    keep(chunk, future.result())
        return sorted(left, key=lambda chunk: -chunk.cost)

    def _restart(self) -> str:
        """Why a worker has died, in words; new ones are started in place of them all.

        A signal by which a person stops a process stops this one too, as if it had been sent here.
        """
        # One that was started while the others were ended would be waited for without end.
        self._workers = list((self._executor._processes or {}).values()) or self._workers
        for worker in self._workers:
            worker.terminate()
        self._executor.shutdown()
        codes = {-(worker.exitcode or 0) for worker in self._workers}  # those that lived were sent SIGTERM
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            if number in codes <= set(SIGNALS):
                signal.raise_signal(number)
                raise StageError("a worker process was stopped by a signal; start the same command again")
        self._executor = self._start()
        [code, *_] = sorted(codes - {signal.SIGTERM}, key=lambda code: code != signal.SIGKILL)
        if code == signal.SIGKILL:
            return "killed, as the system does when memory is short: try fewer --workers"
        return signal.strsignal(code) or "it was signalled" if code > 0 else f"it exited with status {-code}"

    def time_epochs(
        self, chunks: Mapping[Key, Chunk], within: float, progress: Progress = lambda done, planned: None
    ) -> dict[Key, float]:
        """Seconds of an epoch of each of these chunks, from a few steps.

        In their order, and no more of them once `within` seconds have passed since the first was timed, before which
        the workers start; one for each worker in any case.
        """
        left, enough = list(chunks.items()), math.inf
        pending: dict[Future[float], Key] = {}
        timed: dict[Key, float] = {}
        while left or pending:
            while left and len(pending) < self.compute.workers:
                key, chunk = left.pop(0)
                pending[self._submit(_seconds_per_epoch, chunk)] = key
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                timed[pending.pop(future)] = future.result()
            enough = min(enough, time.monotonic() + within)
            if time.monotonic() >= enough:
                left.clear()
            progress(len(timed), len(chunks))
        return timed

    def _settled(self, chunks: list[Chunk]) -> list[Chunk]:
        """With the decision what is compiled."""
        programs: dict[tuple[object, ...], list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            structure = chunk.replicas[0].hyper.structure
            if self.compute.compile != "off" and can_compile(chunk.variant, structure, self.compute.device):
                programs[chunk.program].append(chunk)
        if self.compute.compile == "on":
            return [replace(chunk, compiled=chunk.program in programs) for chunk in chunks]
        probes = {program: self._submit(_probe, *self._probed(alike)) for program, alike in programs.items()}
        return [replace(chunk, compiled=chunk.program in probes and probes[chunk.program].result()) for chunk in chunks]

    def _probed(self, alike: Sequence[Chunk]) -> tuple[Chunk, float]:
        """One of the chunks that run the same program, and how many steps of it a worker has to do."""
        steps = sum(max(replica.hyper.epochs for replica in chunk.replicas) * chunk.epoch_steps for chunk in alike)
        return alike[0], steps / min(self.compute.workers, len(alike))

    def composition(self) -> dict[str, Any]:
        """Everything that the last bits of all outcomes so far depend on, besides seeds and plans."""
        return {**self.compute.params, **this_machine(), "chunks": [chunk.composition for chunk in self.trained]}

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # What runs is of no use any more: do not wait for it.
            for process in list((self._executor._processes or {}).values()):
                process.terminate()
        self._executor.shutdown(cancel_futures=True)
        self._memory.close()
        self._memory.unlink()


_data: tuple[Dataset, Dataset]
_progress: Synchronized[int]
_compute: Compute


def _share(data: Sequence[Dataset]) -> SharedMemory:
    """The arrays of data sets, one after the other."""
    content = io.BytesIO()
    for each in data:
        for array in each.arrays:
            np.save(content, array, allow_pickle=False)
    memory = SharedMemory(create=True, size=content.tell())
    assert memory.buf is not None
    memory.buf[: content.tell()] = content.getbuffer()
    return memory


def _shared(memory_name: str, kinds: Sequence[type[Dataset]]) -> list[Dataset]:
    """A copy of the data sets that another process shares."""
    memory = SharedMemory(memory_name)
    assert memory.buf is not None
    content = io.BytesIO(memory.buf)
    memory.close()
    return [kind.of(*(np.load(content, allow_pickle=False) for _ in fields(kind))) for kind in kinds]


def _start_worker(memory_name: str, kinds: Sequence[type[Dataset]], done: Synchronized[int], compute: Compute) -> None:
    global _data, _progress, _compute
    train, *held_out = _shared(memory_name, kinds)
    _data, _progress, _compute = (train, held_out[0] if held_out else train), done, compute
    # Ctrl-C ends workers without a word; the parent, which it reaches too or which sees that they have gone, tells.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    torch.set_num_threads(1)
    _keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _keep_freed_memory() -> None:
    """Let glibc reuse freed blocks instead of returning them: 10-25 % of an epoch were page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20)):
            mallopt(parameter, value)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tick(replica_epochs: int) -> None:
    with _progress.get_lock():
        _progress.value += replica_epochs


def _training(chunk: Chunk) -> ChunkTraining:
    return ChunkTraining(chunk, *_data, bfloat16=_compute.precision == "bfloat16", device=_compute.device)


def _probe(chunk: Chunk, steps: float) -> bool:
    """Whether compiling pays back within this many steps; without compiling where it cannot."""
    eager = _training(chunk).seconds_per_step()
    if steps * eager * (1 - 1 / BEST_GAIN) < COMPILE_SECONDS:
        return False
    compiled = _training(replace(chunk, compiled=True)).seconds_per_step()
    return steps * (eager - compiled) > LOAD_SECONDS


def _seconds_per_epoch(chunk: Chunk) -> float:
    return _training(chunk).seconds_per_epoch()


def _work(chunk: Chunk) -> list[Outcome]:
    return _training(chunk).run(_tick)

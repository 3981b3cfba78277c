"""Worker processes: one chunk at a time in each, one thread each.

Two processes of one thread are faster and steadier than one process of two threads for nets of this size. Workers end
with their parent, however it ends.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any

import torch

from pipeline.data.pools import Pool
from pipeline.errors import StageError
from pipeline.models.registry import get_variant
from pipeline.training.chunk import ChunkTraining
from pipeline.training.compute import Compute
from pipeline.training.plan import Chunk, Job, Outcome, compose_chunks
from pipeline.training.step import can_compile

Progress = Callable[[int, int], None]
"""Called with (replica-epochs done, replica-epochs planned), several times a second."""
POLL_SECONDS = 0.1
COMPILE_SECONDS, LOAD_SECONDS = 15.0, 3.0
"""What compiling a step takes, and what loading it takes where another worker has compiled it: measured on 2 cores."""
BEST_GAIN = 1.6
"""The most that compiling has gained."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


class Trainer:
    """Trains jobs in worker processes that live as long as it does. Use it as a context manager.

    The workers hold two pools: what is trained on, and what is held out. A stage that must not see the test
    digits passes the training digits for both, and the test digits are nowhere in its workers.
    """

    def __init__(self, train: Pool, held_out: Pool, compute: Compute) -> None:
        context = multiprocessing.get_context("spawn")
        self.compute = compute.resolved()
        self.trained: list[Chunk] = []
        """The chunks of all runs so far, in the order of their plans."""
        self._done: Synchronized[int] = context.Value("q", 0)
        # Through shared memory, because a process that is started with large arguments keeps its parent waiting until
        # it has imported what they are made of.
        content = pickle.dumps((train, held_out))
        self._memory = SharedMemory(create=True, size=len(content))
        assert self._memory.buf is not None
        self._memory.buf[: len(content)] = content
        self._executor = ProcessPoolExecutor(
            self.compute.workers,
            mp_context=context,
            initializer=_start_worker,
            initargs=(self._memory.name, self._done, self.compute),
        )

    def warm_up(self) -> None:
        """Start the workers now, so that they load while the caller does something else."""
        for _ in range(self.compute.workers):
            self._executor.submit(os.getpid)

    def run(
        self,
        jobs: Sequence[Job],
        progress: Progress = lambda done, planned: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[list[Outcome]]:
        """Train all jobs; outcomes by job, in the order of its replicas. `meanwhile` is called once they train.

        Raises StageError when a worker process dies.
        """
        chunks = self._settled(compose_chunks(jobs, device=self.compute.device, limit=self.compute.chunk))
        self.trained += chunks
        planned = sum(chunk.replica_epochs for chunk in chunks)
        self._done.value = 0
        futures: dict[Future[list[Outcome]], Chunk] = {
            self._executor.submit(_work, chunk): chunk for chunk in sorted(chunks, key=lambda chunk: -chunk.cost)
        }
        meanwhile()
        outcomes: dict[tuple[int, int], Outcome] = {}
        pending = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                progress(min(self._done.value, planned), planned)
                for future in finished:
                    chunk = futures[future]
                    outcomes.update(zip(chunk.places, future.result(), strict=True))
        except BrokenProcessPool as error:
            raise StageError("a worker process died (out of memory?); try fewer --workers") from error
        return [[outcomes[index, position] for position in range(len(job.replicas))] for index, job in enumerate(jobs)]

    def estimate(self, jobs: Sequence[Job]) -> float:
        """Seconds that jobs would take, from a few timed steps of every program in them."""
        chunks = compose_chunks(jobs, device=self.compute.device, limit=self.compute.chunk)
        programs = {chunk.program: chunk for chunk in chunks}
        timed = {program: self._executor.submit(_seconds_per_epoch, chunk) for program, chunk in programs.items()}
        seconds = sum(timed[chunk.program].result() * chunk.replica_epochs / len(chunk.replicas) for chunk in chunks)
        return seconds / max(1, min(self.compute.workers, len(chunks)))

    def _settled(self, chunks: list[Chunk]) -> list[Chunk]:
        """With the decision what is compiled."""
        programs: dict[tuple[object, ...], list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            network = get_variant(chunk.variant).build(chunk.replicas[0].hyper.structure)
            if self.compute.compile != "off" and can_compile(network, self.compute.device):
                programs[chunk.program].append(chunk)
        if self.compute.compile == "on":
            return [replace(chunk, compiled=chunk.program in programs) for chunk in chunks]
        probes = {program: self._executor.submit(_probe, *self._probed(alike)) for program, alike in programs.items()}
        return [replace(chunk, compiled=chunk.program in probes and probes[chunk.program].result()) for chunk in chunks]

    def _probed(self, alike: Sequence[Chunk]) -> tuple[Chunk, float]:
        """One of the chunks that run the same program, and how many steps of it a worker has to do."""
        steps = sum(max(replica.hyper.epochs for replica in chunk.replicas) * chunk.epoch_steps for chunk in alike)
        return alike[0], steps / min(self.compute.workers, len(alike))

    def composition(self) -> dict[str, Any]:
        """Everything that the last bits of all outcomes so far depend on, besides seeds, plans and the machine."""
        return {**self.compute.params, "chunks": [chunk.composition for chunk in self.trained]}

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


_pools: tuple[Pool, Pool]
_progress: Synchronized[int]
_compute: Compute


def _start_worker(memory_name: str, done: Synchronized[int], compute: Compute) -> None:
    global _pools, _progress, _compute
    memory = SharedMemory(memory_name)
    assert memory.buf is not None
    _pools, _progress, _compute = pickle.loads(memory.buf), done, compute
    memory.close()
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
    return ChunkTraining(chunk, *_pools, bfloat16=_compute.precision == "bfloat16", device=_compute.device)


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

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
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType

import torch

from pipeline.data.digits import DigitSet
from pipeline.errors import StageError
from pipeline.training.chunk import train_chunk
from pipeline.training.plan import Chunk, Job, Outcome, compose_chunks

Progress = Callable[[int, int], None]
"""Called with (replica-epochs done, replica-epochs planned), several times a second."""
POLL_SECONDS = 0.1
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


class Trainer:
    """Trains jobs in worker processes that live as long as it does. Use it as a context manager.

    The workers hold two pools of digits: what is trained on, and what is held out. A stage that must not see the test
    digits passes the training digits for both, and the test digits are nowhere in its workers.
    """

    def __init__(self, train: DigitSet, held_out: DigitSet, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._workers = workers
        self._done: Synchronized[int] = context.Value("q", 0)
        # Through shared memory, because a process that is started with large arguments keeps its parent waiting until
        # it has imported what they are made of.
        content = pickle.dumps((train, held_out))
        self._memory = SharedMemory(create=True, size=len(content))
        assert self._memory.buf is not None
        self._memory.buf[: len(content)] = content
        self._executor = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(self._memory.name, self._done)
        )

    def warm_up(self) -> None:
        """Start the workers now, so that they load while the caller does something else."""
        for _ in range(self._workers):
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
        chunks = compose_chunks(jobs)
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
                    for position, outcome in zip(chunk.positions, future.result(), strict=True):
                        outcomes[chunk.job, position] = outcome
        except BrokenProcessPool as error:
            raise StageError("a worker process died (out of memory?); try fewer --workers") from error
        return [[outcomes[index, position] for position in range(len(job.replicas))] for index, job in enumerate(jobs)]

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


_pools: tuple[DigitSet, DigitSet]
_progress: Synchronized[int]


def _start_worker(memory_name: str, done: Synchronized[int]) -> None:
    global _pools, _progress
    memory = SharedMemory(memory_name)
    assert memory.buf is not None
    _pools, _progress = pickle.loads(memory.buf), done
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


def _work(chunk: Chunk) -> list[Outcome]:
    return train_chunk(chunk, *_pools, _tick)

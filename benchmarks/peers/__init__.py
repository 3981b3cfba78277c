"""What people use instead of the engine: one module each, with `build(task, replicas) -> Training`.

Only child processes import these modules, so that each needs its library alone.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How one contestant is run."""

    name: str
    module: str
    """Below `benchmarks.peers`."""
    library: str
    """What must be installed."""
    threads: int = 0
    """Of torch; 0: as the task says."""
    processes: int = 1
    """Several have a core each, and train at the same time."""
    replicas: int = 1
    """In each process."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set before the library is imported."""
    families: tuple[str, ...] = ()
    """The only families that it can train; empty: any."""

    @property
    def is_installed(self) -> bool:
        """Whether its library can be imported."""
        return importlib.util.find_spec(self.library) is not None


def plain_peers(workers: int) -> dict[int, Peer]:
    """The ordinary loop by number of threads: one, and one for each worker of the engine."""
    return {
        threads: Peer(name=f"plain {threads}", module="plain", library="torch", threads=threads)
        for threads in sorted({1, workers})
    }


def library_peers(workers: int) -> list[Peer]:
    """The peers that need a library of their own."""
    single_threaded = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return [
        Peer(name="skorch", module="skorch_net", library="skorch"),
        Peer(name="lightning", module="lightning_net", library="lightning"),
        Peer(
            name="jax",
            module="jax_net",
            library="jax",
            processes=workers,
            replicas=4,
            environment={"XLA_FLAGS": single_threaded, "JAX_PLATFORMS": "cpu"},
            families=("mlp",),
        ),
    ]


def gemm_peer(workers: int) -> Peer:
    """The largest speed that matrix products reach: one single-threaded process a worker."""
    return Peer(name="GEMM", module="gemm", library="torch", threads=1, processes=workers)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.models.registry import variants
from pipeline.models.variant import Hyperparameters
from pipeline.training.plan import (
    CHUNK_MAX,
    CHUNK_MIN,
    CHUNKS_MULTIPLE,
    Chunk,
    Job,
    Replica,
    chunk_limit,
    compose_chunks,
)
from tests.training.plans import make_replica


def never(_errors: Sequence[float], /) -> bool:
    return False


def make_hyper(batch_size: int = 20, epochs: int = 3) -> Hyperparameters:
    return Hyperparameters(lr=1e-3, batch_size=batch_size, epochs=epochs)


def structure(replica: Replica) -> tuple[int, int, int]:
    return replica.hyper.batch_size, len(replica.train), len(replica.held_out)


replica_st = st.builds(
    lambda index, batch_size, epochs, pairs, held_out: make_replica(
        index, make_hyper(batch_size, epochs), pairs=pairs, held_out=held_out
    ),
    st.integers(0, 3),
    st.sampled_from([8, 100]),
    st.integers(1, 5),
    st.sampled_from([30, 31]),
    st.sampled_from([10, 11]),
)
mixed_job_st = st.builds(
    lambda variant, replicas: Job(variant=variant, replicas=tuple(replicas)),
    st.sampled_from(["mlp", "mlp_ws_al", "convnet"]),
    st.lists(replica_st, min_size=1, max_size=40),
)
stopping_job_st = st.builds(
    lambda replica, count: Job(variant="convnet", replicas=(replica,) * count, stop=never, keep_models=True),
    replica_st,
    st.integers(1, 20),
)
jobs_st = st.lists(mixed_job_st | stopping_job_st, max_size=4)


@given(jobs_st)
def test_every_replica_is_in_exactly_one_chunk(jobs: list[Job]) -> None:
    chunks = compose_chunks(jobs)
    placed = [(chunk.job, position) for chunk in chunks for position in chunk.positions]
    assert sorted(placed) == [
        (index, position) for index, job in enumerate(jobs) for position in range(len(job.replicas))
    ]
    for chunk in chunks:
        job = jobs[chunk.job]
        assert (chunk.variant, chunk.stop, chunk.keep_models) == (job.variant, job.stop, job.keep_models)
        for position, replica in zip(chunk.positions, chunk.replicas, strict=True):
            assert replica is job.replicas[position]


@given(jobs_st)
def test_a_chunk_has_one_structure_and_a_bounded_size(jobs: list[Job]) -> None:
    for chunk in compose_chunks(jobs):
        assert len({structure(replica) for replica in chunk.replicas}) == 1
        if chunk.stop is None:
            assert len(chunk.replicas) <= chunk_limit(chunk.variant, chunk.replicas[0].hyper.batch_size)


@given(jobs_st)
def test_chunks_do_not_depend_on_other_jobs(jobs: list[Job]) -> None:
    together = compose_chunks(jobs)
    for index, job in enumerate(jobs):
        alone = [chunk.positions for chunk in compose_chunks([job])]
        assert alone == [chunk.positions for chunk in together if chunk.job == index]


@given(stopping_job_st)
def test_replicas_that_stop_together_share_a_chunk(job: Job) -> None:
    [chunk] = compose_chunks([job])
    assert chunk.positions == tuple(range(len(job.replicas)))


@given(st.integers(1, 100))
def test_divided_replicas_make_even_chunks(count: int) -> None:
    job = Job(variant="convnet", replicas=(make_replica(0, make_hyper(batch_size=8)),) * count)
    sizes = [len(chunk.replicas) for chunk in compose_chunks([job])]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == 1 or len(sizes) % CHUNKS_MULTIPLE == 0 or len(sizes) == count


@pytest.mark.parametrize(
    "other",
    [
        make_replica(1, make_hyper(batch_size=21)),
        make_replica(1, make_hyper(), pairs=59),
        make_replica(1, make_hyper(), held_out=29),
    ],
    ids=["batch size", "training pairs", "held-out pairs"],
)
def test_replicas_of_different_structure_cannot_stop_together(other: Replica) -> None:
    job = Job(variant="mlp", replicas=(make_replica(0, make_hyper()), other))
    assert len(compose_chunks([job])) == 2
    with pytest.raises(InputError, match="same number of pairs and the same batch size"):
        compose_chunks([replace(job, stop=never)])


@pytest.mark.parametrize("variant", variants())
def test_larger_batches_leave_room_for_fewer_replicas(variant: str) -> None:
    limits = [chunk_limit(variant, batch_size) for batch_size in (1, 8, 25, 100, 1000, 100_000)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] <= CHUNK_MAX
    assert limits[-1] == CHUNK_MIN


def test_replica_epochs_and_cost_follow_the_work() -> None:
    def chunk(*hypers: Hyperparameters) -> Chunk:
        [chunk] = compose_chunks([Job(variant="mlp", replicas=tuple(make_replica(0, hyper) for hyper in hypers))])
        return chunk

    assert chunk(make_hyper(epochs=3), make_hyper(epochs=5)).replica_epochs == 8
    assert chunk(make_hyper(epochs=6)).cost == pytest.approx(2 * chunk(make_hyper(epochs=3)).cost)
    assert chunk(make_hyper(batch_size=5)).cost > chunk(make_hyper(batch_size=60)).cost

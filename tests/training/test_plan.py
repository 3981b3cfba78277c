from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.models.registry import variants
from pipeline.models.variant import Hyperparameters, Value
from pipeline.training.plan import (
    CHUNK_MAX,
    CHUNK_MIN,
    CHUNKS_MULTIPLE,
    Chunk,
    Job,
    Replica,
    chunk_limit,
    compose_chunks,
    structure,
)
from tests.training.plans import make_replica


def never(_errors: Sequence[float], /) -> bool:
    return False


def make_hyper(batch_size: int = 20, epochs: int = 3, optimiser: str = "adam") -> Hyperparameters:
    return Hyperparameters(lr=1e-3, batch_size=batch_size, epochs=epochs, optimiser=optimiser)


replica_st = st.builds(
    lambda index, hyper, pairs, held_out: make_replica(index, hyper, pairs=pairs, held_out=held_out),
    st.integers(0, 3),
    st.builds(make_hyper, st.sampled_from([8, 100]), st.integers(1, 5), st.sampled_from(["adam", "sgd"])),
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
        assert len({replica.hyper.optimiser for replica in chunk.replicas}) == 1
        if chunk.stop is None:
            limit = chunk_limit(chunk.variant, chunk.replicas[0].hyper.batch_size)
            assert len(chunk.replicas) <= max(limit, 2 * CHUNK_MIN - 1)  # rather than leave one alone


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
        make_replica(1, make_hyper(optimiser="sgd")),
    ],
    ids=["batch size", "training pairs", "held-out pairs", "optimiser"],
)
def test_replicas_of_different_structure_cannot_stop_together(other: Replica) -> None:
    job = Job(variant="mlp", replicas=(make_replica(0, make_hyper()), other))
    assert len(compose_chunks([job])) == 2
    with pytest.raises(InputError, match="must have the same number of pairs, batch size and optimiser"):
        compose_chunks([replace(job, stop=never)])


def test_all_but_the_structure_may_differ_within_a_chunk() -> None:
    changes: list[dict[str, Value]] = [
        {"epochs": 9, "lr": 0.1, "alpha": 1.0},
        {"weight_decay": 0.1, "momentum": 0.5},
        {"schedule": "cosine", "lr_min": 1e-4},
        {"schedule": "cosine_restarts", "restart_epochs": 2},
        {"augmentation": "crop_flip"},
    ]
    hypers = [make_hyper(), *(make_hyper().having(change) for change in changes)]
    replicas = tuple(make_replica(index, hyper, patience=index) for index, hyper in enumerate(hypers))
    [chunk] = compose_chunks([Job(variant="mlp_al", replicas=replicas, stop=never)])
    assert chunk.replicas == replicas


@given(jobs_st, st.integers(1, 9))
def test_a_limit_that_is_asked_for_is_kept_exactly(jobs: list[Job], limit: int) -> None:
    chunks = compose_chunks(jobs, limit=limit)
    for index, job in enumerate(jobs):
        sizes: dict[object, list[int]] = {}
        for chunk in chunks:
            if chunk.job == index:
                sizes.setdefault(structure(chunk.replicas[0]), []).append(len(chunk.replicas))
        for parts in sizes.values():
            assert len(parts) == (1 if job.stop else math.ceil(sum(parts) / limit))
            assert job.stop or max(parts) <= limit
            assert max(parts) - min(parts) <= 1


def test_a_limit_may_be_above_or_below_what_would_be_chosen() -> None:
    job = Job(variant="convnet", replicas=(make_replica(0, make_hyper()),) * 100)
    assert [len(chunk.replicas) for chunk in compose_chunks([job], limit=100)] == [100]
    assert [len(chunk.replicas) for chunk in compose_chunks([job], limit=1)] == [1] * 100
    assert compose_chunks([job], limit=0) == compose_chunks([job])


def test_a_gpu_takes_larger_chunks() -> None:
    job = Job(variant="mlp", replicas=(make_replica(0, make_hyper()),) * 100)
    assert [len(chunk.replicas) for chunk in compose_chunks([job], device="cuda")] == [100]
    for variant in variants():
        assert chunk_limit(variant, 25, "cpu") < chunk_limit(variant, 25, "cuda") <= CHUNK_MAX["cuda"]


@given(jobs_st, st.integers(0, 9))
def test_the_compositions_name_every_replica_once(jobs: list[Job], limit: int) -> None:
    named = [
        replace(job, replicas=tuple(replace(part, name=(index, place)) for place, part in enumerate(job.replicas)))
        for index, job in enumerate(jobs)
    ]
    chunks = compose_chunks(named, limit=limit)
    names = [name for chunk in chunks for name in chunk.composition["replicas"]]
    assert sorted(names) == sorted(
        f"{index}/{place}" for index, job in enumerate(jobs) for place in range(len(job.replicas))
    )
    for chunk in chunks:
        assert chunk.composition["model"] == chunk.variant
        assert chunk.composition["batch_size"] == chunk.replicas[0].hyper.batch_size
        assert json.loads(json.dumps(chunk.composition)) == chunk.composition


@pytest.mark.parametrize("variant", variants())
def test_larger_batches_leave_room_for_fewer_replicas(variant: str) -> None:
    limits = [chunk_limit(variant, batch_size) for batch_size in (1, 8, 25, 100, 1000, 100_000)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] <= CHUNK_MAX["cpu"]
    assert limits[-1] == CHUNK_MIN


def test_replica_epochs_and_cost_follow_the_work() -> None:
    def chunk(*hypers: Hyperparameters) -> Chunk:
        [chunk] = compose_chunks([Job(variant="mlp", replicas=tuple(make_replica(0, hyper) for hyper in hypers))])
        return chunk

    assert chunk(make_hyper(epochs=3), make_hyper(epochs=5)).replica_epochs == 8
    assert chunk(make_hyper(epochs=6)).cost == pytest.approx(2 * chunk(make_hyper(epochs=3)).cost)
    assert chunk(make_hyper(batch_size=5)).cost > chunk(make_hyper(batch_size=60)).cost

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters, Value
from pipeline.models.variant import Variant
from pipeline.tasks.registry import get_variant, variants
from pipeline.training.chunk import ReplicaSamples
from pipeline.training.plan import (
    CHUNK_MAX,
    CHUNK_MIN,
    CHUNKS_MULTIPLE,
    NUMBER_BYTES,
    SAMPLE_BYTES,
    Chunk,
    Job,
    Replica,
    chunk_limit,
    compose_chunks,
    shape,
)
from tests.training.plans import DIGITS, OF_DIGITS, OF_POINTS, POINTS, make_hyper, make_replica

PAIR_MODEL = make_hyper("mlp")
"""Of every model of pairs that has the options of hidden layers."""
DIGIT_MODEL = make_hyper("lenet_digits")
PAIR_BYTES = NUMBER_BYTES * 2 * 14 * 14
"""Of one pair: the numbers of both images."""


def never(_errors: Sequence[Sequence[float]], /) -> bool:
    return False


replica_st = st.builds(
    lambda index, hyper, samples, held_out: make_replica(index, hyper, samples=samples, held_out=held_out),
    st.integers(0, 3),
    st.builds(
        lambda **changes: PAIR_MODEL.replaced(changes),
        batch_size=st.sampled_from([8, 100]),
        epochs=st.integers(1, 5),
        optimiser=st.sampled_from(["adam", "sgd"]),
        batch_norm=st.booleans(),
    ),
    st.sampled_from([30, 31]),
    st.sampled_from([10, 11]),
)
mixed_job_st = st.builds(
    lambda variant, replicas: Job(variant=get_variant(variant), replicas=tuple(replicas)),
    st.sampled_from(["mlp", "mlp_ws_al", "convnet"]),
    st.lists(replica_st, min_size=1, max_size=40),
)
stopping_job_st = st.builds(
    lambda replica, count: Job(
        variant=get_variant("convnet"), replicas=(replica,) * count, stop=never, keep_models=True
    ),
    replica_st,
    st.integers(1, 20),
)
jobs_st = st.lists(mixed_job_st | stopping_job_st, max_size=4)


@given(jobs_st)
def test_every_replica_is_in_exactly_one_chunk(jobs: list[Job]) -> None:
    chunks = compose_chunks(jobs)
    placed = [place for chunk in chunks for place in chunk.places]
    assert sorted(placed) == [
        (index, position) for index, job in enumerate(jobs) for position in range(len(job.replicas))
    ]
    for chunk in chunks:
        for (job, position), replica in zip(chunk.places, chunk.replicas, strict=True):
            assert (chunk.variant, chunk.keep_models) == (jobs[job].variant, jobs[job].keep_models)
            assert replica is jobs[job].replicas[position]


@given(jobs_st)
def test_a_chunk_has_one_shape_and_a_bounded_size(jobs: list[Job]) -> None:
    for chunk in compose_chunks(jobs):
        assert len({shape(replica) for replica in chunk.replicas}) == 1
        assert len({replica.hyper.optimiser for replica in chunk.replicas}) == 1
        assert len({replica.hyper.structure for replica in chunk.replicas}) == 1
        whole = max((len(group.rows) for group in chunk.stop_groups), default=0)  # which is never divided
        limit = chunk_limit(chunk.variant, chunk.replicas[0])
        assert len(chunk.replicas) <= max(limit, 2 * CHUNK_MIN - 1, whole)  # rather than leave one alone


@given(st.lists(stopping_job_st, min_size=1, max_size=4))
def test_replicas_that_stop_together_share_a_chunk_and_a_rule(jobs: list[Job]) -> None:
    chunks = compose_chunks(jobs)
    for index, job in enumerate(jobs):
        [(chunk, group)] = [
            (chunk, group) for chunk in chunks for group in chunk.stop_groups if chunk.places[group.rows[0]][0] == index
        ]
        assert [chunk.places[row] for row in group.rows] == [(index, place) for place in range(len(job.replicas))]
        assert group.stop is job.stop


def test_replicas_of_one_shape_train_together_whatever_their_jobs() -> None:
    one, other, apart = (replace(PAIR_MODEL, batch_size=size) for size in (25, 25, 50))
    jobs = [
        Job(variant=get_variant("mlp_ws"), replicas=(make_replica(index, hyper),) * 3, stop=rule)
        for index, (hyper, rule) in enumerate([(one, never), (replace(other, lr=0.1), None), (apart, never)])
    ]
    together = [chunk.places for chunk in compose_chunks(jobs)]
    assert together == [((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)), ((2, 0), (2, 1), (2, 2))]
    others = [jobs[0], replace(jobs[1], variant=get_variant("mlp_al")), replace(jobs[1], keep_models=True)]
    assert [len(chunk.replicas) for chunk in compose_chunks(others)] == [3, 3, 3]


@pytest.mark.parametrize(("jobs", "sizes"), [(1, [5]), (2, [5, 5]), (3, [10, 5])])
def test_what_would_be_one_chunk_is_divided_for_two_workers(jobs: int, sizes: list[int]) -> None:
    trials = [Job(variant=get_variant("mlp_ws"), replicas=(make_replica(0, PAIR_MODEL),) * 5, stop=never)] * jobs
    assert [len(chunk.replicas) for chunk in compose_chunks(trials)] == sizes
    assert [len(chunk.replicas) for chunk in compose_chunks(trials, limit=100)] == [5 * jobs]
    assert [len(chunk.replicas) for chunk in compose_chunks(trials, device="cuda")] == [5 * jobs]


@given(st.integers(1, 100))
def test_divided_replicas_make_even_chunks(count: int) -> None:
    job = Job(variant=get_variant("convnet"), replicas=(make_replica(0, replace(PAIR_MODEL, batch_size=8)),) * count)
    sizes = [len(chunk.replicas) for chunk in compose_chunks([job])]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == 1 or len(sizes) % CHUNKS_MULTIPLE == 0 or len(sizes) == count


def other_replica(change: dict[str, Value], samples: int = 60, held_out: int = 30) -> Replica:
    return make_replica(1, DIGIT_MODEL.replaced(change), samples=samples, held_out=held_out)


@pytest.mark.parametrize(
    "other",
    [
        other_replica({"batch_size": 21}),
        other_replica({}, samples=59),
        other_replica({}, held_out=29),
        other_replica({"optimiser": "sgd"}),
        other_replica({"batch_norm": False}),
        other_replica({"dropout": 0.5}),
        other_replica({"kernel": 3}),
        other_replica({"auxiliary": False}),
    ],
    ids=[
        *("batch size", "training samples", "held-out samples", "optimiser"),
        *("normalisation", "dropout", "an option of its own", "auxiliary classifier"),
    ],
)
def test_replicas_of_different_shape_are_apart_and_cannot_stop_together(other: Replica) -> None:
    job = Job(variant=get_variant("lenet_digits"), replicas=(make_replica(0, DIGIT_MODEL), other))
    assert len(compose_chunks([job])) == 2
    rule = "must have the same structure, batch size, optimiser and number of samples"
    with pytest.raises(InputError, match=rule):
        compose_chunks([replace(job, stop=never)])


def test_all_but_the_shape_may_differ_within_a_chunk() -> None:
    changes: list[dict[str, Value]] = [
        {"epochs": 9, "lr": 0.1, "alpha": 1.0},
        {"weight_decay": 0.1, "momentum": 0.5},
        {"schedule": "cosine", "lr_min": 1e-4},
        {"schedule": "cosine_restarts", "restart_epochs": 2},
        {"augmentation": "crop_flip"},
    ]
    hypers = [DIGIT_MODEL, *(DIGIT_MODEL.replaced(change) for change in changes)]
    replicas = tuple(make_replica(index, hyper, patience=index) for index, hyper in enumerate(hypers))
    [chunk] = compose_chunks([Job(variant=get_variant("lenet_digits"), replicas=replicas, stop=never)])
    assert chunk.replicas == replicas


def test_structures_of_a_job_are_grouped_wherever_they_stand() -> None:
    replicas = tuple(
        make_replica(index, make_hyper("linear_digits", nodes=16 * (1 + index % 2), layers=1)) for index in range(6)
    )
    chunks = compose_chunks([Job(variant=get_variant("linear_digits"), replicas=replicas)])
    assert [[position for _, position in chunk.places] for chunk in chunks] == [[0, 2, 4], [1, 3, 5]]
    assert [chunk.composition["structure"]["nodes"] for chunk in chunks] == [16, 32]
    assert len({chunk.program for chunk in chunks}) == 2


@given(jobs_st, st.integers(1, 9))
def test_a_limit_that_is_asked_for_is_kept_exactly(jobs: list[Job], limit: int) -> None:
    free = [replace(job, stop=None) for job in jobs]
    sizes: dict[object, list[int]] = {}
    for chunk in compose_chunks(free, limit=limit):
        program = (chunk.variant, chunk.keep_models, shape(chunk.replicas[0]))
        sizes.setdefault(program, []).append(len(chunk.replicas))
    for parts in sizes.values():
        assert len(parts) == math.ceil(sum(parts) / limit)
        assert max(parts) <= limit
        assert max(parts) - min(parts) <= 1
    for chunk in compose_chunks(jobs, limit=limit):
        assert len(chunk.replicas) <= max(limit, *(len(group.rows) for group in chunk.stop_groups), 0)


def test_a_limit_may_be_above_or_below_what_would_be_chosen() -> None:
    job = Job(variant=get_variant("convnet"), replicas=(make_replica(0, PAIR_MODEL),) * 100)
    assert [len(chunk.replicas) for chunk in compose_chunks([job], limit=100)] == [100]
    assert [len(chunk.replicas) for chunk in compose_chunks([job], limit=1)] == [1] * 100
    assert compose_chunks([job], limit=0) == compose_chunks([job])


def test_a_gpu_takes_larger_chunks() -> None:
    job = Job(variant=get_variant("mlp"), replicas=(make_replica(0, PAIR_MODEL),) * 100)
    assert [len(chunk.replicas) for chunk in compose_chunks([job], device="cuda")] == [100]
    for name, variant in variants().items():
        replica = make_replica(0, variant.preset, splits=POINTS if name in OF_POINTS else DIGITS)
        assert chunk_limit(variant, replica, "cpu") < chunk_limit(variant, replica, "cuda") <= CHUNK_MAX["cuda"]


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
        assert chunk.composition["model"] == chunk.variant.name
        assert chunk.composition["batch_size"] == chunk.replicas[0].hyper.batch_size
        assert chunk.composition["structure"] == dict(chunk.replicas[0].hyper.structure)
        assert json.loads(json.dumps(chunk.composition)) == chunk.composition


@pytest.mark.parametrize("variant", {**OF_DIGITS, **OF_POINTS}.values(), ids=lambda variant: variant.name)
def test_larger_batches_leave_room_for_fewer_replicas(variant: Variant) -> None:
    hypers = [make_hyper(variant, batch_size=size) for size in (1, 8, 25, 100, 1000, 100_000)]
    splits = POINTS if variant.name in OF_POINTS else DIGITS
    limits = [chunk_limit(variant, make_replica(0, hyper, splits=splits)) for hyper in hypers]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] <= CHUNK_MAX["cpu"]
    assert limits[-1] == CHUNK_MIN


def test_larger_structures_leave_room_for_fewer_replicas() -> None:
    hypers = [make_hyper("linear_digits", nodes=nodes) for nodes in (16, 128, 512, 4096)]
    limits = [chunk_limit(get_variant("linear_digits"), make_replica(0, hyper)) for hyper in hypers]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] == CHUNK_MAX["cpu"]
    assert limits[-1] == CHUNK_MIN


@pytest.mark.parametrize("batch_size", [1, 1000])
@pytest.mark.parametrize("variant", OF_POINTS.values(), ids=OF_POINTS)
def test_networks_of_points_are_small_unless_their_batches_are_immense(variant: Variant, batch_size: int) -> None:
    replica = make_replica(0, make_hyper(variant, batch_size=batch_size), splits=POINTS)
    assert chunk_limit(variant, replica) == CHUNK_MAX["cpu"]


class TestRoundsOfAllOfMNIST:
    """30,000 training pairs and 5,000 held-out ones."""

    def replica(self, variant: str) -> Replica:
        train, held_out = (np.zeros((count, 2), dtype=np.int32) for count in (30_000, 5_000))
        return replace(make_replica(0, make_hyper(variant)), train=train, held_out=held_out)

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    @pytest.mark.parametrize("variant", ["linear_digits", "mlp_ws", "bnmlp", "convnet_al"])
    def test_leave_room_for_as_many_replicas_as_their_samples_allow(self, variant: str, device: str) -> None:
        limit = chunk_limit(get_variant(variant), self.replica(variant), device)
        assert limit * 35_000 * PAIR_BYTES <= SAMPLE_BYTES
        assert limit <= chunk_limit(get_variant(variant), make_replica(0, make_hyper(variant)), device)
        if device == "cuda":
            assert (limit + 1) * 35_000 * PAIR_BYTES > SAMPLE_BYTES

    def test_are_divided_among_chunks(self) -> None:
        job = Job(variant=get_variant("linear_digits"), replicas=(self.replica("linear_digits"),) * 40)
        for device in ("cpu", "cuda"):
            assert max(len(chunk.replicas) for chunk in compose_chunks([job], device=device)) <= 9


def test_the_bytes_of_a_pair_are_those_of_its_images_in_two_orders() -> None:
    indices = make_replica(0, PAIR_MODEL).train
    samples = ReplicaSamples.gather(DIGITS[0], [indices, indices], torch.float32, "cpu")
    shuffled = samples.shuffled(torch.arange(60).repeat(2, 1))
    assert sum(each.tensors["x"].nbytes for each in (samples, shuffled)) == 2 * 60 * PAIR_BYTES


def test_replica_epochs_and_cost_follow_the_work() -> None:
    def chunk(*hypers: Hyperparameters) -> Chunk:
        [chunk] = compose_chunks(
            [Job(variant=get_variant("mlp"), replicas=tuple(make_replica(0, hyper) for hyper in hypers))]
        )
        return chunk

    assert chunk(replace(PAIR_MODEL, epochs=3), replace(PAIR_MODEL, epochs=5)).replica_epochs == 8
    assert chunk(replace(PAIR_MODEL, epochs=6)).cost == pytest.approx(2 * chunk(PAIR_MODEL).cost)
    assert chunk(replace(PAIR_MODEL, batch_size=5)).cost > chunk(replace(PAIR_MODEL, batch_size=60)).cost

"""What is not timed is computed from what is, and samples do not matter to the time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from pipeline.training.estimate import (
    Kind,
    kind_of,
    nominal_seconds_of,
    samples_of_kinds,
    slowness,
    uncertainty,
)
from pipeline.training.plan import Chunk, Job, compose_chunks
from pipeline.training.pool import Trainer
from tests.training.plans import make_hypers, make_replica


def chunks_of(variant: str, batch_size: int, *, replicas: int = 4, epochs: int = 2, samples: int = 40) -> list[Chunk]:
    hypers = make_hypers(variant, replicas, batch_size=batch_size, epochs=epochs)
    made = tuple(make_replica(index, hyper, samples=samples) for index, hyper in enumerate(hypers))
    return compose_chunks([Job(variant=get_variant(variant), replicas=made)])


MANY = [
    *chunks_of("mlp", 10, replicas=8),
    *chunks_of("mlp", 20, replicas=2),
    *chunks_of("mlp_ws", 10),
    *chunks_of("convnet", 10, epochs=3),
    *chunks_of("bnmlp", 10),
]


@pytest.fixture
def kinds(train_digits: DigitSet) -> dict[Kind, Chunk]:
    return samples_of_kinds(MANY, train_digits)


def of(kinds: Mapping[Kind, Chunk], variant: str, batch_size: int = 10) -> Kind:
    [kind] = [kind for kind in kinds if kind[0].name == variant and kind[2] == batch_size]
    return kind


def epoch(chunk: Chunk) -> float:
    return nominal_seconds_of(chunk) * len(chunk.replicas) / chunk.replica_epochs


def test_there_is_a_sample_of_each_kind_and_what_takes_longest_comes_first(kinds: dict[Kind, Chunk]) -> None:
    assert kinds.keys() == {kind_of(chunk) for chunk in MANY}
    total = [sum(nominal_seconds_of(chunk) for chunk in MANY if kind_of(chunk) == kind) for kind in kinds]
    assert total == sorted(total, reverse=True)


def test_samples_are_as_many_and_of_the_data_set(kinds: dict[Kind, Chunk], train_digits: DigitSet) -> None:
    small = DigitSet.of(*(array[:7] for array in train_digits.arrays))
    for kind, chunk in samples_of_kinds(MANY, small).items():
        for replica, before in zip(chunk.replicas, kinds[kind].replicas, strict=True):
            assert replica.train.shape == before.train.shape
            assert replica.held_out.shape == before.held_out.shape
            assert max(replica.train.max(), replica.held_out.max()) < 7
            assert replica.train.dtype == np.int32


def test_a_kind_that_was_timed_is_as_slow_as_that(kinds: dict[Kind, Chunk]) -> None:
    timed = {kind: 3 * epoch(chunk) for kind, chunk in kinds.items()}
    assert slowness(kinds, timed) == pytest.approx(dict.fromkeys(kinds, 3))


def test_other_kinds_are_as_slow_as_those_that_are_most_like_them(kinds: dict[Kind, Chunk]) -> None:
    mlp, convnet = of(kinds, "mlp"), of(kinds, "convnet")
    found = slowness(kinds, {mlp: 2 * epoch(kinds[mlp]), convnet: 5 * epoch(kinds[convnet])})
    assert found[of(kinds, "mlp", 20)] == pytest.approx(2)  # of the same structure
    assert found[of(kinds, "mlp_ws")] == pytest.approx(2)  # of the same family
    assert found[of(kinds, "bnmlp")] == pytest.approx(3.5)  # of none that was timed: the median of all


def test_the_error_is_what_each_would_have_had_by_the_others(kinds: dict[Kind, Chunk]) -> None:
    alike = {kind: 2 * epoch(chunk) for kind, chunk in kinds.items()}
    assert uncertainty(kinds, alike) == pytest.approx(1)
    mlp = of(kinds, "mlp")
    assert uncertainty(kinds, alike | {mlp: 3 * alike[mlp]}) == pytest.approx(3, rel=0.5)
    assert uncertainty(kinds, {mlp: 1.0}) is None


@pytest.mark.parametrize(("within", "least", "most"), [(0.0, 1, 1), (1e6, 5, 5)], ids=["no time", "time for all"])
def test_the_first_are_timed_and_the_others_if_there_is_time(
    kinds: dict[Kind, Chunk], train_digits: DigitSet, within: float, least: int, most: int
) -> None:
    told: list[tuple[int, int]] = []
    with Trainer(train_digits, train_digits, Compute(workers=1)) as trainer:
        timed = trainer.time_epochs(kinds, within, lambda done, planned: told.append((done, planned)))
    assert least <= len(timed) <= most
    assert list(timed) == list(kinds)[: len(timed)]
    assert all(seconds > 0 for seconds in timed.values())
    assert told == [(number, len(kinds)) for number in range(1, len(timed) + 1)]

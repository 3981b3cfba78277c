from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest
import torch

from pipeline.data.dataset import Dataset
from pipeline.models.variant import Variant
from pipeline.training.chunk import ChunkTraining
from pipeline.training.plan import Chunk, Outcome, Replica
from tests.training.plain import PlainResult, train_plain


class Splits:
    """What is trained on and what is held out."""

    def __init__(self, train: Dataset, held_out: Dataset) -> None:
        self.train, self.held_out = train, held_out
        self._plain: dict[Hashable, PlainResult] = {}

    def run(self, chunk: Chunk, dtype: torch.dtype = torch.float64, *, bfloat16: bool = False) -> list[Outcome]:
        """Train; whatever happens, the ticks add up to the plan."""
        ticks: list[int] = []
        outcomes = ChunkTraining(chunk, self.train, self.held_out, dtype=dtype, bfloat16=bfloat16).run(ticks.append)
        assert sum(ticks) == chunk.replica_epochs
        return outcomes

    def plain(self, variant: Variant, replica: Replica) -> PlainResult:
        """The same training by the ordinary loop, run once however often it is asked for."""
        samples = replica.train.tobytes(), replica.held_out.tobytes()
        key = (variant.name, replica.name, replica.hyper, replica.patience, samples)
        if key not in self._plain:
            self._plain[key] = train_plain(variant, replica, self.train, self.held_out)
        return self._plain[key]

    def assert_equal_to_plain(self, chunk: Chunk, outcomes: Sequence[Outcome]) -> None:
        """Replica by replica."""
        for replica, outcome in zip(chunk.replicas, outcomes, strict=True):
            self.plain(chunk.variant, replica).assert_equals(outcome)


@pytest.fixture(scope="module")
def splits(train_digits: Dataset, held_out_digits: Dataset) -> Splits:
    return Splits(train_digits, held_out_digits)


@pytest.fixture(scope="module")
def points(train_points: Dataset, held_out_points: Dataset) -> Splits:
    return Splits(train_points, held_out_points)

"""How long trainings would take on this machine: some steps of each kind of training are timed, the rest is computed.

Trainings are of one *kind* if they have variant, structure, batch size and optimiser in common; how many samples they
have and how many train together only scales what they take. A kind that there was no time for is taken to be as much
slower than its nominal time (`pipeline.training.cost`) as those that were timed and are most like it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from pipeline.data.dataset import Dataset, Indices
from pipeline.models.hyperparameters import Structure
from pipeline.models.variant import Variant
from pipeline.training.cost import nominal_epoch_seconds
from pipeline.training.plan import Chunk

Kind = tuple[Variant, Structure, int, str]
LIKENESSES: tuple[Callable[[Kind], object], ...] = (
    lambda kind: kind[:2],
    lambda kind: kind[0],
    lambda kind: kind[0].family,
    lambda kind: None,
)
"""What kinds have in common that are alike, the most alike first."""


def kind_of(chunk: Chunk) -> Kind:
    """What its replicas have in common, but for the number of samples."""
    hyper = chunk.replicas[0].hyper
    return chunk.variant, hyper.structure, hyper.batch_size, hyper.optimiser


def nominal_seconds_of(chunk: Chunk) -> float:
    """What a chunk takes on a machine of stated speed, one replica after the other."""
    first = chunk.replicas[0]
    epoch = nominal_epoch_seconds(chunk.variant, first.hyper, len(first.train), len(first.held_out))
    return chunk.replica_epochs * epoch


def samples_of_kinds(chunks: Iterable[Chunk], data: Dataset) -> dict[Kind, Chunk]:
    """The largest chunk of each kind, on any samples of this data set; the kinds that take longest come first."""
    total: dict[Kind, float] = defaultdict(float)
    largest: dict[Kind, Chunk] = {}
    for chunk in chunks:
        kind, seconds = kind_of(chunk), nominal_seconds_of(chunk)
        total[kind] += seconds
        if kind not in largest or nominal_seconds_of(largest[kind]) < seconds:
            largest[kind] = chunk
    return {kind: _on(data, largest[kind]) for kind in sorted(total, key=lambda kind: -total[kind])}


def slowness(samples: Mapping[Kind, Chunk], seconds_per_epoch: Mapping[Kind, float]) -> dict[Kind, float]:
    """How many times its nominal time each kind takes, by the seconds of an epoch of those that were timed."""
    timed = {kind: seconds / _nominal_epoch(samples[kind]) for kind, seconds in seconds_per_epoch.items()}
    return {kind: timed[kind] if kind in timed else _guessed(kind, timed) for kind in samples}


def uncertainty(samples: Mapping[Kind, Chunk], seconds_per_epoch: Mapping[Kind, float]) -> float | None:
    """By what factor nine of ten kinds would be wrong at most, had each been computed from the others that were timed.

    None where too few were timed to say.
    """
    timed = {kind: seconds / _nominal_epoch(samples[kind]) for kind, seconds in seconds_per_epoch.items()}
    if len(timed) < 5:
        return None
    wrong = []
    for kind, found in timed.items():
        guessed = _guessed(kind, {other: value for other, value in timed.items() if other != kind})
        wrong.append(max(found / guessed, guessed / found))
    return float(np.quantile(wrong, 0.9))


def _guessed(kind: Kind, timed: Mapping[Kind, float]) -> float:
    for likeness in LIKENESSES:
        alike = [value for other, value in timed.items() if likeness(other) == likeness(kind)]
        if alike:
            return statistics.median(alike)
    raise AssertionError("no kind was timed")


def _nominal_epoch(chunk: Chunk) -> float:
    """With all its replicas."""
    return nominal_seconds_of(chunk) * len(chunk.replicas) / chunk.replica_epochs


def _on(data: Dataset, chunk: Chunk) -> Chunk:
    """The chunk with as many samples, whichever, of this data set: what they are does not matter to the time."""

    def some(indices: Indices) -> Indices:
        return np.resize(np.arange(len(data), dtype=np.int32), indices.shape)

    replicas = tuple(
        replace(replica, train=some(replica.train), held_out=some(replica.held_out)) for replica in chunk.replicas
    )
    return replace(chunk, replicas=replicas)

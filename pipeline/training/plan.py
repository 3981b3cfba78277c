"""What is to be trained, and how it is divided among workers.

A *replica* is one independent training: one (trial, fold, round) with its own data, initial weights and
hyperparameters. A *job* is the replicas that a stage asks for together: the folds of a trial, the rounds of an
evaluation. A *chunk* is the replicas that train as one batched program in one worker: of one structure, and from as
many jobs as have any.

Chunks are composed from the jobs alone, never from the number of workers, because the last bits of a result depend on
what trains beside it; so the same jobs give the same bits on any machine with the same kernels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.base.errors import InputError
from pipeline.data.dataset import Indices
from pipeline.models.hyperparameters import Hyperparameters, Structure
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant, normalises
from pipeline.training.ways import Way, fastest_way

CHUNK_BYTES = {"cpu": 28e6, "cuda": 8e9}
"""What a chunk's weights, gradients, moments and activations may take: about a core's share of the cache, or a part
of a GPU's memory."""
SAMPLE_BYTES = 1e9
"""What the samples of a chunk may take."""
NUMBER_BYTES = 2 * 4
"""Of one number of a sample: twice in float32 (in the order of an epoch as well)."""
CHUNK_MIN, CHUNK_MAX = 2, {"cpu": 16, "cuda": 1024}
"""Replicas in a chunk. One alone runs on other kernels, at half the speed where there are convolutions."""
CHUNKS_MULTIPLE = 2
"""What is divided has a multiple of this many chunks, so that two or more workers finish together."""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One independent training."""

    seed: int
    """Root seed of the experiment."""
    name: tuple[str | int, ...]
    """Which training this is, for example ("trial", 3, "round", 0, "fold", 1): its weights and its order of samples
    are drawn from generators of this name."""
    hyper: Hyperparameters
    train: Indices
    """Of its N samples in the training set."""
    held_out: Indices
    """Of its M samples in the data set that the trainer was given as held out."""
    read_at: tuple[int, ...] = ()
    """Epochs after which the metrics are measured on all training samples; the last one always is."""
    patience: int = 0
    """Stop when so many epochs in a row brought no lower held-out value of the first metric; 0 for never."""


class StopRule(Protocol):
    """Decides from the held-out values of the first metric of a job's replicas so far whether to stop it."""

    def __call__(self, held_out_FE: Sequence[Sequence[float]], /) -> bool:
        """Whether to stop, asked after every epoch: the values of every replica after epochs 1 to E."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Replicas of one variant that a stage asks for together."""

    variant: Variant
    replicas: tuple[Replica, ...]
    stop: StopRule | None = None
    """With a stop rule all replicas train in one chunk, and leave it together."""
    keep_models: bool = False
    """Return each replica's weights and its predictions for the held-out samples."""

    @property
    def replica_epochs(self) -> int:
        """Epochs to train, summed over replicas."""
        return sum(replica.hyper.epochs for replica in self.replicas)


@dataclass(frozen=True, kw_only=True)
class StopGroup:
    """Replicas of a chunk that leave together when their rule says so."""

    rows: tuple[int, ...]
    """Positions in the chunk."""
    stop: StopRule


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Replicas that train as one program: of one structure."""

    places: tuple[tuple[int, int], ...]
    """Of each replica: position of its job among the jobs, and its own in the job."""
    replicas: tuple[Replica, ...]
    variant: Variant
    stop_groups: tuple[StopGroup, ...]
    """One for each job with a stop rule."""
    keep_models: bool
    way: Way = "stacked"
    """How the replicas train together."""
    compiled: bool = False
    """Whether its steps run through torch.compile, which gives other last bits."""

    @property
    def replica_epochs(self) -> int:
        """Epochs to train, summed over replicas."""
        return sum(replica.hyper.epochs for replica in self.replicas)

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch."""
        first = self.replicas[0]
        return -(-len(first.train) // first.hyper.batch_size)

    @property
    def cost(self) -> float:
        """A rough measure of time, to start long chunks first: samples, plus a fixed cost a step."""
        return float(self.replica_epochs * (len(self.replicas[0].train) + 20 * self.epoch_steps))

    @property
    def program(self) -> tuple[object, ...]:
        """Equal for chunks that run the same program, compiled or not."""
        return self.variant.name, len(self.replicas), *shape(self.replicas[0])

    @property
    def composition(self) -> dict[str, Any]:
        """What its bits depend on, besides the plan of each replica: who trains beside whom, and how."""
        return {
            "model": self.variant.name,
            "batch_size": self.replicas[0].hyper.batch_size,
            "structure": dict(self.replicas[0].hyper.structure),
            "compiled": self.compiled,
            **({} if self.way == "stacked" else {"way": self.way}),
            "replicas": ["/".join(map(str, replica.name)) for replica in self.replicas],
        }


Status = Literal["complete", "stopped", "diverged", "broken"]
"""`diverged`: its loss is no number any more; `broken`: the program that trained it failed, or its process died."""


@dataclass(kw_only=True)
class Outcome:
    """What one training gave: filled while it trains."""

    status: Status = "complete"
    reason: str = ""
    """Why it ended early; empty when complete."""
    curves: dict[str, list[float]] = field(default_factory=dict)
    """By name, a value for each epoch that was run: `train_loss`, with its auxiliary part, and the first metric as
    `train_<metric>`, both over the steps of the epoch while learning; `held_out_loss` and every `held_out_<metric>` on
    all held-out samples after the epoch."""
    train_at: dict[int, dict[str, float]] = field(default_factory=dict)
    """Epoch -> the metrics on all training samples after it."""
    seconds_per_epoch: float = math.nan
    """A worker's time for one epoch of this replica: the chunk's time over its replica-epochs."""
    mean: NDArray[np.float32] | None = None
    """What inputs are scaled by, (x - mean) / std, as it broadcasts with those of one sample; None for indices."""
    std: NDArray[np.float32] | None = None
    fill: NDArray[np.float32] | None = None
    """What stood for missing numbers before; None where there were none."""
    weights: dict[str, NDArray[np.float32]] | None = None
    objective: Objective | None = None
    """That of the variant, fitted to the training samples; where models are kept."""
    predictions: dict[str, NDArray[Any]] = field(default_factory=dict)
    """(M, ...) for the held-out samples by name, where models are kept."""

    @property
    def has_failed(self) -> bool:
        """Whether it gave no result."""
        return self.status in ("diverged", "broken")

    @property
    def epochs(self) -> int:
        """How many were run."""
        return len(self.curves.get("train_loss", ()))

    def held_out(self, metric: str) -> float:
        """A metric on all held-out samples after the last epoch; NaN where it is not measured."""
        return (self.curves.get(f"held_out_{metric}") or [math.nan])[-1]

    def train(self, metric: str, epoch: int | None = None) -> float:
        """A metric on all training samples after this epoch, or the last one; NaN where it was not measured then."""
        at = self.train_at.get(epoch or self.epochs) or self.train_at.get(self.epochs, {})
        return at.get(metric, math.nan)


def compose_chunks(jobs: Sequence[Job], *, device: str = "cpu", limit: int = 0) -> list[Chunk]:
    """Divide jobs into chunks; the composition depends on the jobs, the device and `limit` alone.

    `limit` is the number of replicas in a chunk at most, but a job with a stop rule is never divided; 0 chooses it
    from the size of the model, and 1 where replicas would train one by one. Raises InputError when a job with a stop
    rule has replicas of different structure, or one sample is to be normalised.
    """
    groups: dict[tuple[Variant, bool, Shape], list[tuple[Place, ...]]] = defaultdict(list)
    for index, job in enumerate(jobs):
        places: dict[Shape, list[Place]] = defaultdict(list)
        for position, replica in enumerate(job.replicas):
            places[shape(replica)].append((index, position))
        if job.stop is not None and len(places) > 1:
            raise InputError(
                "replicas that stop together must have the same structure, batch size, optimiser and number of samples"
            )
        for alike, found in places.items():
            _check_samples(job, job.replicas[found[0][1]])
            blocks = [(place,) for place in found] if job.stop is None else [tuple(found)]
            groups[job.variant, job.keep_models, alike] += blocks
    chunks = []
    for (variant, _, (structure, batch_size, *_)), blocks in groups.items():
        way = fastest_way(variant, structure, batch_size, device)
        exact = limit or (1 if way == "one by one" else 0)
        most = exact or chunk_limit(variant, _replica(jobs, blocks[0][0]), device)
        alone = len(groups) == 1 and device == "cpu"  # and so what is not divided would keep one worker busy
        chunks += [_chunk(jobs, part, way) for part in _divide(blocks, most, exactly=bool(exact), least=1 + alone)]
    return chunks


def _replica(jobs: Sequence[Job], place: Place) -> Replica:
    job, position = place
    return jobs[job].replicas[position]


def _chunk(jobs: Sequence[Job], places: tuple[Place, ...], way: Way) -> Chunk:
    rows: dict[int, list[int]] = defaultdict(list)
    for row, (job, _) in enumerate(places):
        rows[job].append(row)
    first = jobs[places[0][0]]
    rules = ((jobs[job].stop, tuple(positions)) for job, positions in rows.items())
    return Chunk(
        places=places,
        replicas=tuple(_replica(jobs, place) for place in places),
        variant=first.variant,
        stop_groups=tuple(StopGroup(rows=positions, stop=stop) for stop, positions in rules if stop is not None),
        keep_models=first.keep_models,
        way=way,
    )


def _check_samples(job: Job, replica: Replica) -> None:
    if len(replica.train) == 1 and normalises(job.variant.build(replica.hyper.structure)):
        raise InputError(
            f"batch normalisation needs at least 2 training samples, but {job.variant.name} was given one; ask for "
            f"a greater --train-size{'' if job.variant.foreign else ', or choose batch_norm=off'}"
        )


Place = tuple[int, int]
"""Position of a job among the jobs, and of a replica in the job."""
Shape = tuple[Structure, int, str, int, int]


def shape(replica: Replica) -> Shape:
    """What replicas of a chunk have in common; all else may differ."""
    hyper = replica.hyper
    return hyper.structure, hyper.batch_size, hyper.optimiser, len(replica.train), len(replica.held_out)


def _divide(blocks: Sequence[tuple[Place, ...]], limit: int, *, exactly: bool, least: int) -> list[tuple[Place, ...]]:
    """Parts of at most `limit` places, or of one block; of about the same size, and without dividing a block.

    Unless the limit is kept `exactly`, no part is smaller than `CHUNK_MIN`, and there are `least` parts if possible.
    """
    largest = max(map(len, blocks))
    fitting = max(1, limit // largest)
    parts = -(-len(blocks) // fitting)
    if not exactly and max(parts, least) > 1:
        parts = max(parts, least)
        balanced = -(-parts // CHUNKS_MULTIPLE) * CHUNKS_MULTIPLE
        parts = max(1, min(balanced, len(blocks) * largest // CHUNK_MIN, len(blocks)))
    shares = np.array_split(np.arange(len(blocks)), parts)
    return [tuple(place for index in share for place in blocks[index]) for share in shares]


def chunk_limit(variant: Variant, replica: Replica, device: str = "cpu") -> int:
    """How many replicas such as this one a chunk holds: what fits `CHUNK_BYTES` and `SAMPLE_BYTES`, within
    `CHUNK_MIN` and `CHUNK_MAX`."""
    parameters, activations = size_of(variant, replica.hyper.structure)
    size = max(1, bytes_of(variant, parameters, activations, replica.hyper.batch_size, 0))
    samples = bytes_of(variant, 0, 0, 0, len(replica.train) + len(replica.held_out))
    return int(np.clip(min(CHUNK_BYTES[device] / size, SAMPLE_BYTES / samples), CHUNK_MIN, CHUNK_MAX[device]))


def bytes_of(variant: Variant, parameters: int, activations: int, batch_size: int, samples: int) -> int:
    """What a training takes: weight, gradient and Adam's two moments, each sample's activations in a batch and their
    gradients, and its samples."""
    return 16 * parameters + 8 * activations * batch_size + NUMBER_BYTES * math.prod(variant.input_shape) * samples


@cache  # a plan asks hundreds of times
def size_of(variant: Variant, structure: Structure) -> tuple[int, int]:
    """How many numbers a network trains, and how many its leaves give for one sample."""
    network, activations = variant.build(structure).eval(), 0

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal activations
        parts = output if variant.foreign and isinstance(output, tuple | list) else (output,)
        activations += sum(part.numel() for part in parts if isinstance(part, Tensor))

    for layer in network.modules():
        if not any(layer.children()):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(variant.example())
    return variant.count(structure), activations

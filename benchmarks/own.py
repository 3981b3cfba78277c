"""Networks of one's own: the engine, by each of the three ways, against the loop that a person writes by hand.

Both train in this process, on one thread, on the same samples with the same weights: what differs is the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.work import LEARNING_RATE, SEED, replica_name
from pipeline.base.seeds import derive
from pipeline.data.arrays import arrays
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Indices, Splits
from pipeline.data.rounds import draw_samples
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.initial import build_network
from pipeline.models.own.definition import definitions_of
from pipeline.models.variant import Variant
from pipeline.reports.tables import Table
from pipeline.tasks.subjects import kept, open_subject
from pipeline.training.chunk import ChunkTraining
from pipeline.training.plan import Job, Replica, compose_chunks
from pipeline.training.ways import way_of

BATCH_SIZE, EPOCHS, SAMPLES, HELD_OUT = 25, 10, 1000, 100
REPLICAS = (1, 2, 8)
"""That train together."""


class Dense(nn.Module):
    """Two hidden layers."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        scores: Tensor = self.layers(x)
        return scores


class Normalised(nn.Module):
    """The same with layer normalisation, and a dimension that is named."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(in_features, 64), nn.LayerNorm(64), nn.ReLU()),
            *(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, num_classes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        return functional.log_softmax(self.layers(x), dim=1)


class Bare(nn.Module):
    """A parameter without a layer."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, 64) / in_features**0.5)
        self.scores = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        scores: Tensor = self.scores(functional.relu(x @ self.weight))
        return scores


class Residual(nn.Module):
    """Two convolutions around which the image is added."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.scores = nn.Sequential(nn.Flatten(), nn.Linear(512, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 8, 8) -> (B, K)."""
        x = self.first(x)
        scores: Tensor = self.scores(functional.relu(x + self.second(functional.relu(x))))
        return scores


class Transposed(nn.Module):
    """A transposed convolution."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(1, 8, 3, stride=2)
        self.scores = nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(128, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 8, 8) -> (B, K)."""
        scores: Tensor = self.scores(functional.relu(self.first(x)))
        return scores


class Words(nn.Module):
    """An embedding of grey values."""

    def __init__(self, num_embeddings: int, num_classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_embeddings, 16)
        self.scores = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) indices -> (B, K)."""
        scores: Tensor = self.scores(self.words(x).mean(1))
        return scores


class Attention(nn.Module):
    """Two heads over the eight rows of an image."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scores = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, K)."""
        seen, _ = self.attention(x, x, x, need_weights=False)
        scores: Tensor = self.scores(seen.mean(1))
        return scores


class Recurrent(nn.Module):
    """A GRU over the eight rows of an image."""

    layer = nn.GRU

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.reader = self.layer(8, 32, batch_first=True)
        self.scores = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, K)."""
        outputs, _ = self.reader(x)
        scores: Tensor = self.scores(outputs[:, -1])
        return scores


class LongShort(Recurrent):
    """The same with an LSTM."""

    layer = nn.LSTM  # type: ignore[assignment]


NETWORKS: Mapping[type[nn.Module], tuple[str, tuple[int, ...], str]] = {
    Dense: ("two hidden layers", (64,), "float32"),
    Residual: ("residual block", (1, 8, 8), "float32"),
    Normalised: ("`LayerNorm`", (64,), "float32"),
    Bare: ("parameter without a layer", (64,), "float32"),
    Words: ("`Embedding`", (64,), "int64"),
    Transposed: ("`ConvTranspose2d`", (1, 8, 8), "float32"),
    Attention: ("`MultiheadAttention`", (8, 8), "float32"),
    Recurrent: ("`GRU`", (8, 8), "float32"),
    LongShort: ("`LSTM`", (8, 8), "float32"),
}
"""What each is called, the shape in which it is given the 64 grey values of an image, and their type."""


@dataclass(frozen=True, kw_only=True)
class OwnCell:
    """One network. Seconds are per epoch and replica, round by round."""

    network: str
    way: str
    by_hand: Sequence[float]
    by_replicas: Mapping[int, Sequence[float]]
    """Replicas together -> with the engine."""


def measure_own(cache_dir: Path, repeats: int, step: Callable[[str], None]) -> list[OwnCell]:
    """Each network by hand and with the engine in turn, `repeats` times, on scikit-learn's digits."""
    from sklearn.datasets import load_digits  # a second to import

    x_ND, target_N = load_digits(return_X_y=True)
    cells, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with kept():
            for network, (name, shape, kind) in NETWORKS.items():
                step(f"a network of one's own: {name}")
                data = arrays(x_ND.reshape(-1, *shape).astype(kind), target_N, name="digits")
                config = DataConfig(dataset="digits", task="classification", given=data, cache_dir=cache_dir)
                cells.append(_measure(network, name, config, repeats))
    finally:
        torch.set_num_threads(threads)
    return cells


def _measure(network: type[nn.Module], name: str, config: DataConfig, repeats: int) -> OwnCell:
    [definition] = definitions_of(network)
    subject = open_subject(definition, config)
    variant, splits = subject.variant, subject.splits
    _train_by_hand(variant, splits)
    by_hand, together = [], {count: list[float]() for count in REPLICAS}
    for count in REPLICAS:
        _train(variant, splits, count)
    for _ in range(repeats):
        by_hand.append(_train_by_hand(variant, splits))
        for count, seconds in together.items():
            seconds.append(_train(variant, splits, count))
    trained = way_of(variant, variant.preset.structure)
    return OwnCell(network=name, way=trained.way, by_hand=by_hand, by_replicas=together)


def _samples_of(splits: Splits, replica: int) -> tuple[Indices, Indices]:
    train = draw_samples("train", splits.train, SAMPLES, seed=SEED, round_=replica)
    return train, draw_samples("test", splits.test, HELD_OUT, seed=SEED, round_=replica)


def _train(variant: Variant, splits: Splits, count: int) -> float:
    """So many replicas with the engine."""
    hyper = Hyperparameters(lr=LEARNING_RATE, batch_size=BATCH_SIZE, epochs=EPOCHS)
    replicas = tuple(
        Replica(seed=SEED, name=replica_name(replica), hyper=hyper, train=train, held_out=held_out)
        for replica in range(count)
        for train, held_out in [_samples_of(splits, replica)]
    )
    started = time.perf_counter()
    for chunk in compose_chunks([Job(variant=variant, replicas=replicas)]):
        ChunkTraining(chunk, splits.train, splits.test).run(lambda _: None)
    return (time.perf_counter() - started) / (count * EPOCHS)


def _train_by_hand(variant: Variant, splits: Splits) -> float:
    """One replica as anybody would: default Adam, batches by a permutation, the error on held-out samples."""
    parts = [
        (torch.from_numpy(part["x"]), torch.from_numpy(part["target"]))
        for data, indices in zip((splits.train, splits.test), _samples_of(splits, 0), strict=True)
        for part in [data.gather(indices)]
    ]
    started = time.perf_counter()
    if not variant.integer_inputs:
        mean, std = parts[0][0].mean(0), parts[0][0].std(0).clamp_min(1e-6)
        parts = [((each - mean) / std, wanted) for each, wanted in parts]
    (x, target), (held_out, held_out_target) = parts
    network = build_network(variant, SEED, *replica_name(0))
    adam = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    order = torch.Generator().manual_seed(derive(SEED, "order", *replica_name(0)))
    for _ in range(EPOCHS):
        network.train()
        loss_of_epoch = torch.zeros(())
        for batch in torch.randperm(len(target), generator=order).split(BATCH_SIZE):
            adam.zero_grad()
            loss = functional.cross_entropy(network(x[batch]), target[batch])
            loss.backward()
            adam.step()
            loss_of_epoch += loss.detach() * len(batch)
        network.eval()
        with torch.inference_mode():
            (network(held_out).argmax(1) != held_out_target).float().mean().item()
    return (time.perf_counter() - started) / EPOCHS


def own_table(cells: Sequence[OwnCell]) -> Table:
    """Milliseconds, and how many times longer the loop by hand takes."""
    return Table(
        ["network", "trained", "by hand (ms)", *(f"{count} together (ms)" for count in REPLICAS),
         *(f"ratio of {count}" for count in REPLICAS)],
        [
            [
                cell.network,
                cell.way,
                f"{1e3 * median(cell.by_hand):.1f}",
                *(f"{1e3 * median(cell.by_replicas[count]):.1f}" for count in REPLICAS),
                *(_ratio(cell.by_hand, cell.by_replicas[count]) for count in REPLICAS),
            ]
            for cell in cells
        ],
    )  # fmt: skip


def _ratio(by_hand: Sequence[float], ours: Sequence[float]) -> str:
    ratios = [mine / its for mine, its in zip(by_hand, ours, strict=True)]
    return f"{median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"

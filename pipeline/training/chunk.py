"""Train one chunk: R replicas as one batched program in one process.

Replicas are independent although they share every call: the loss is the sum of each one's mean, so one `backward()`
gives each its own gradient. A replica leaves when its epochs are over, when it or its job is stopped, or when its loss
is no longer finite; the others go on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.base.seeds import derive
from pipeline.data.dataset import Batch, Dataset, Indices
from pipeline.models.initial import build_network, weights_generator
from pipeline.models.metrics import Metric, Predictions
from pipeline.models.transforms import Scale, rows_of
from pipeline.training.outputs import over_parts
from pipeline.training.plan import Chunk, Outcome, Replica, Status
from pipeline.training.step import Step, make_step
from pipeline.training.ways import make_networks

EVALUATION_BATCH = 100


class ReplicaSamples:
    """The samples of R replicas: tensors (R, N, ...) by name."""

    def __init__(self, tensors: Batch) -> None:
        self.tensors = tensors

    @classmethod
    def gather(
        cls, data: Dataset, indices_R: Sequence[Indices], dtype: torch.dtype | None, device: str
    ) -> ReplicaSamples:
        """Look the samples of every replica up, with inputs as they are in the data set but for their type."""
        samples = [data.gather(indices) for indices in indices_R]
        stacked = {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples])).to(device) for name in samples[0]
        }
        return cls(stacked if dtype is None else {**stacked, "x": stacked["x"].to(dtype)})

    def __len__(self) -> int:
        """Samples of each replica."""
        return self.tensors["x"].shape[1]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.tensors["x"].device

    def scaled(self, scale: Scale | None, dtype: torch.dtype) -> ReplicaSamples:
        """With inputs scaled and rounded to `dtype`, but for indices, which have no scale."""
        if scale is None:
            return self
        return ReplicaSamples({**self.tensors, "x": scale.apply_(self.tensors["x"]).to(dtype)})

    def select(self, keep: Tensor) -> ReplicaSamples:
        """The samples of some replicas."""
        return ReplicaSamples({name: tensor[keep] for name, tensor in self.tensors.items()})

    def shuffled(self, order_RN: Tensor) -> ReplicaSamples:
        """Each replica's samples in its own order, copied once so that batches are views."""
        replicas, samples = order_RN.shape
        index = (order_RN + torch.arange(replicas).unsqueeze(1) * samples).flatten().to(self.device)
        return ReplicaSamples(
            {
                name: tensor.flatten(0, 1).index_select(0, index).view(tensor.shape)
                for name, tensor in self.tensors.items()
            }
        )

    def batches(self, size: int, *, least: int = 1) -> Iterator[Batch]:
        """Views of at most `size` samples of each replica.

        A last batch of fewer than `least` samples is added to the one before it.
        """
        sizes = [min(size, len(self) - start) for start in range(0, len(self), size)]
        if len(sizes) > 1 and sizes[-1] < least:
            sizes[-2:] = [sum(sizes[-2:])]
        parts = [tensor.split(sizes, 1) for tensor in self.tensors.values()]
        return (dict(zip(self.tensors, batch, strict=True)) for batch in zip(*parts, strict=True))


class Evaluation(NamedTuple):
    """What R replicas make of N samples each."""

    loss_R: Tensor
    metrics: dict[str, Tensor]
    """(R,) by name."""
    predictions: Predictions


class ChunkTraining:
    """The state of one chunk while it trains. `dtype` is that of the weights; `bfloat16` rounds them for each step."""

    def __init__(
        self,
        chunk: Chunk,
        train: Dataset,
        held_out: Dataset,
        *,
        dtype: torch.dtype = torch.float32,
        bfloat16: bool = False,
        device: str = "cpu",
    ) -> None:
        self.chunk, self.variant = chunk, chunk.variant
        replicas = chunk.replicas
        self.step = _make_step(chunk, dtype=dtype, bfloat16=bfloat16, device=device)
        self.orders = [_generator(replica, "order") for replica in replicas]
        self.augmentations = [_generator(replica, "augmentation") for replica in replicas]
        kind = None if self.variant.integer_inputs else dtype
        raw = ReplicaSamples.gather(train, [replica.train for replica in replicas], kind, device)
        held_out_raw = ReplicaSamples.gather(held_out, [replica.held_out for replica in replicas], kind, device)
        self.scale = None if self.variant.integer_inputs else self._scale(raw.tensors["x"])
        self.train_samples = raw.scaled(self.scale, self.step.dtype)
        self.held_out_samples = held_out_raw.scaled(self.scale, self.step.dtype)
        self.step.objective = self.step.objective.fit(self.train_samples.tensors)
        self.active = list(range(len(replicas)))
        """Positions in the chunk of the replicas that still train."""
        self.progress = [Progress(replica, self.variant.metric) for replica in replicas]
        for row, progress in enumerate(self.progress):
            progress.outcome.mean, progress.outcome.std, progress.outcome.fill = (
                None if part is None else part[row, 0].cpu().numpy() for part in self.scale or (None, None, None)
            )

    def _scale(self, x: Tensor) -> Scale:
        """What is done to the inputs of each replica."""
        names = [replica.hyper.inputs for replica in self.chunk.replicas]
        scales = {name: self.variant.transforms.scalings[name](x) for name in dict.fromkeys(names)}
        if len(scales) == 1:
            return scales[names[0]]
        return rows_of([scales[name] for name in names])

    def run(self, tick: Callable[[int], None]) -> list[Outcome]:
        """Train to the end; `tick` is told of replica-epochs that are done or have become needless."""
        started = time.perf_counter()
        epoch = 0
        while self.active:
            epoch += 1
            trained = len(self.active)
            self._record_epoch(*self.train_epoch(epoch), self._evaluate(self.held_out_samples))
            self._read_train_metrics(epoch)
            skipped = self._leave(epoch, self._stopped())
            tick(trained + skipped)
        outcomes = [progress.outcome for progress in self.progress]
        per_epoch = (time.perf_counter() - started) / sum(outcome.epochs for outcome in outcomes)
        for outcome in outcomes:
            outcome.seconds_per_epoch = per_epoch
        return outcomes

    def train_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """One pass over the training samples, counted from 1: mean loss (R,) and first metric (R,) while learning."""
        self.step.begin_epoch(epoch - 1)
        samples = self._epoch_samples()
        losses, outputs = [], []
        for batch in self._batches(samples):
            loss_R, output = self.step(batch)
            losses.append(loss_R * batch["x"].shape[1])
            outputs.append(output)
        metric_R = self.variant.metric.value_R(self._predictions(outputs), samples.tensors)
        return torch.stack(losses).sum(0) / len(samples), metric_R

    def _predictions(self, outputs: Sequence[Any]) -> Predictions:
        return self.step.objective.predict(over_parts(lambda *parts: torch.cat(parts, 1), *outputs))

    def _batches(self, samples: ReplicaSamples) -> Iterator[Batch]:
        size = len(samples) if self.step.whole else self.chunk.replicas[0].hyper.batch_size
        return samples.batches(size, least=2 if self.step.needs_two else 1)

    def seconds_per_step(self, seconds: float = 0.3) -> float:
        """The time of a step, the median of as many as fit into `seconds`; the training is of no use afterwards."""
        self.step.begin_epoch(0)
        batch = next(self._batches(self._epoch_samples()))
        least = 1 if self.step.whole else 3  # a fit may take long, and one is like another
        if not self.step.whole:
            self.step(batch)
        times: list[float] = []
        while len(times) < least or sum(times) < seconds:
            started = time.perf_counter()
            self.step(batch)
            if batch["x"].is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return float(np.median(times))

    def seconds_per_epoch(self) -> float:
        """The time of an epoch with all replicas, from a few steps; the training is of no use afterwards."""
        steps = (1 if self.step.whole else self.chunk.epoch_steps) * self.seconds_per_step()
        started = time.perf_counter()
        self._evaluate(self.held_out_samples)
        return steps + time.perf_counter() - started

    def _epoch_samples(self) -> ReplicaSamples:
        count = len(self.train_samples)
        order_RN = torch.stack([torch.randperm(count, generator=self.orders[position]) for position in self.active])
        samples = self.train_samples.shuffled(order_RN)
        x = samples.tensors["x"]
        for row, position in enumerate(self.active):
            name = self.chunk.replicas[position].hyper.augmentation
            if name != "none":
                assert self.scale is not None
                zero = (
                    -self.scale.mean[position] / self.scale.std[position]
                ).item()  # what an input of 0 was scaled to
                x[row] = self.variant.transforms.augmentations[name](x[row], zero, self.augmentations[position])
        return samples

    @torch.inference_mode()
    def _evaluate(self, samples: ReplicaSamples) -> Evaluation:
        """What the replicas make of samples without learning."""
        self.step.begin_evaluation()
        losses, outputs = [], []
        for batch in samples.batches(len(samples) if self.step.whole else EVALUATION_BATCH):
            loss_R, output = self.step.evaluate(batch)
            losses.append(loss_R * batch["x"].shape[1])
            outputs.append(output)
        predictions = self._predictions(outputs)
        metrics = {metric.name: metric.value_R(predictions, samples.tensors) for metric in self.variant.metrics}
        return Evaluation(torch.stack(losses).sum(0) / len(samples), metrics, predictions)

    def _record_epoch(self, train_loss_R: Tensor, train_metric_R: Tensor, held_out: Evaluation) -> None:
        curves = {
            "train_loss": train_loss_R,
            f"train_{self.variant.metric.name}": train_metric_R,
            "held_out_loss": held_out.loss_R,
            **{f"held_out_{name}": value_R for name, value_R in held_out.metrics.items()},
        }
        values = torch.stack([value_R.double() for value_R in curves.values()], 1).tolist()
        for position, row in zip(self.active, values, strict=True):
            for name, value in zip(curves, row, strict=True):
                self.progress[position].outcome.curves.setdefault(name, []).append(value)

    def _read_train_metrics(self, epoch: int) -> None:
        reading = [row for row, position in enumerate(self.active) if self.progress[position].reads(epoch)]
        if reading:
            found = {name: value_R.tolist() for name, value_R in self._evaluate(self.train_samples).metrics.items()}
            for row in reading:
                progress = self.progress[self.active[row]]
                if progress.is_finite():
                    progress.outcome.train_at[epoch] = {name: values[row] for name, values in found.items()}

    def _stopped(self) -> set[int]:
        """Positions of the replicas whose rule says after this epoch that they stop."""
        active = set(self.active)
        stopped: set[int] = set()
        for group in self.chunk.stop_groups:
            present = [self.progress[row].held_out for row in group.rows if row in active]
            if present and group.stop(present):
                stopped.update(group.rows)
        return stopped

    def _leave(self, epoch: int, stopped: set[int]) -> int:
        """Part with the replicas that are done; the number of epochs that they will not need."""
        staying, complete, skipped = [], [], 0
        for row, position in enumerate(self.active):
            progress = self.progress[position]
            status = progress.status_after(epoch, position in stopped)
            if status is None:
                staying.append(row)
                continue
            progress.end(status, epoch)
            if status == "complete":
                complete.append(row)
            skipped += progress.replica.hyper.epochs - epoch
        if complete and self.chunk.keep_models:
            self._keep_models(complete)
        if len(staying) < len(self.active):
            self._select(torch.tensor(staying, dtype=torch.int64))
        return skipped

    def _keep_models(self, rows: list[int]) -> None:
        predictions = self._evaluate(self.held_out_samples).predictions
        for row in rows:
            outcome = self.progress[self.active[row]].outcome
            outcome.objective = self.step.objective.row(row)
            outcome.predictions = {name: part[row].cpu().numpy().copy() for name, part in predictions.items()}
            outcome.weights = {
                name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
                for name, tensor in self.step.state(row).items()
            }

    def _select(self, keep: Tensor) -> None:
        self.active = [self.active[row] for row in keep.tolist()]
        if self.active:
            keep = keep.to(self.train_samples.device)
            self.step.select(keep)
            self.train_samples = self.train_samples.select(keep)
            self.held_out_samples = self.held_out_samples.select(keep)


def _make_step(chunk: Chunk, *, dtype: torch.dtype, bfloat16: bool, device: str) -> Step:
    variant, replicas = chunk.variant, chunk.replicas
    hypers, structure = [replica.hyper for replica in replicas], replicas[0].hyper.structure
    if variant.make_step is not None:
        weights = [weights_generator(replica.seed, *replica.name) for replica in replicas]
        step: Step = variant.make_step(
            structure, hypers, weights, objective=variant.objective, dtype=dtype, device=device
        )
        return step
    networks = make_networks(
        chunk.way,
        [build_network(variant, part.seed, *part.name, structure=structure, dtype=dtype) for part in replicas],
        variant,
        bfloat16=bfloat16,
        device=device,
    )
    networks.use_generators([_generator(replica, "dropout") for replica in replicas])
    return make_step(networks, hypers, variant, compiled=chunk.compiled)


def _generator(replica: Replica, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(replica.seed, purpose, *replica.name))


class Progress:
    """How one replica goes on, by what has been seen of it so far."""

    def __init__(self, replica: Replica, metric: Metric) -> None:
        self.replica = replica
        self.outcome = Outcome()
        self._metric = metric

    @property
    def held_out(self) -> list[float]:
        """The first metric on the held-out samples after every epoch."""
        return self.outcome.curves[f"held_out_{self._metric.name}"]

    def reads(self, epoch: int) -> bool:
        """Whether the metrics on all training samples are wanted after this epoch."""
        return epoch == self.replica.hyper.epochs or epoch in self.replica.read_at or self.is_stuck()

    def is_finite(self) -> bool:
        """Whether the losses of the last epoch are numbers."""
        return bool(np.isfinite(self._last_losses).all())

    @property
    def _last_losses(self) -> list[float]:
        return [self.outcome.curves[name][-1] for name in ("train_loss", "held_out_loss")]

    def status_after(self, epoch: int, stop: bool) -> Status | None:
        """How the replica ends with this epoch, or None if it goes on."""
        if not self.is_finite():
            return "diverged"
        if epoch == self.replica.hyper.epochs:
            return "complete"
        return "stopped" if stop or self.is_stuck() else None

    def is_stuck(self) -> bool:
        """Whether the held-out metric has not fallen for as many epochs as the replica has patience."""
        best = int(np.argmin(self.held_out))
        return 0 < self.replica.patience <= len(self.held_out) - 1 - best

    def end(self, status: Status, epoch: int) -> None:
        """Note how and why it ended."""
        self.outcome.status = status
        if status == "diverged":
            loss = next(loss for loss in self._last_losses if not np.isfinite(loss))
            self.outcome.reason = f"the loss became {loss} in epoch {epoch}"
        elif status == "stopped" and self.is_stuck():
            lower = f"no lower {self._metric.title} for {self.replica.patience} epochs"
            self.outcome.reason = f"stopped after epoch {epoch}: {lower}"
        elif status == "stopped":
            self.outcome.reason = f"stopped after epoch {epoch}"

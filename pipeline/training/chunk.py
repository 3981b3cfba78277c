"""Train one chunk: R replicas as one batched program in one process.

Replicas are independent although they share every call: the loss is the sum of each one's mean, so one `backward()`
gives each its own gradient. A replica leaves when its epochs are over, when it or its job is stopped, or when its loss
is no longer finite; the others go on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.data.digits import DigitSet
from pipeline.data.pairs import Pairs, gather
from pipeline.models.initial import build_network
from pipeline.models.registry import get_variant
from pipeline.seeds import derive
from pipeline.training.augmentation import augment
from pipeline.training.network import ReplicaNetworks
from pipeline.training.plan import Chunk, Outcome, Replica
from pipeline.training.step import make_step

EVALUATION_BATCH = 100
Status = Literal["complete", "stopped", "diverged"]


class StackedSamples:
    """The samples of R replicas: x (R, N, 2, 14, 14), target (R, N), digits (R, N, 2)."""

    def __init__(self, x: Tensor, target: Tensor, digits: Tensor) -> None:
        self.x, self.target, self.digits = x, target, digits

    @classmethod
    def gather(cls, digits: DigitSet, pairs_R: Sequence[Pairs], dtype: torch.dtype, device: str) -> StackedSamples:
        """Look the pairs of every replica up, as grey values."""
        samples = [gather(digits, pairs) for pairs in pairs_R]
        return cls(
            torch.from_numpy(np.stack([sample.x_NCHW for sample in samples])).to(device, dtype),
            torch.from_numpy(np.stack([sample.target_N for sample in samples])).to(device),
            torch.from_numpy(np.stack([sample.digits_NC for sample in samples])).to(device),
        )

    def standardised(self, mean_R: Tensor, std_R: Tensor, dtype: torch.dtype) -> StackedSamples:
        """With x := (x - mean) / std, rounded to `dtype`."""
        shape = (-1, 1, 1, 1, 1)
        x = self.x.sub_(mean_R.view(shape)).div_(std_R.view(shape))
        return StackedSamples(x.to(dtype), self.target, self.digits)

    def select(self, keep: Tensor) -> StackedSamples:
        """The samples of some replicas."""
        return StackedSamples(self.x[keep], self.target[keep], self.digits[keep])

    def shuffled(self, order_RN: Tensor) -> StackedSamples:
        """Each replica's samples in its own order, copied once so that batches are views."""
        replicas, samples = order_RN.shape
        index = (order_RN + torch.arange(replicas).unsqueeze(1) * samples).flatten().to(self.x.device)

        def pick(tensor: Tensor) -> Tensor:
            return tensor.flatten(0, 1).index_select(0, index).view(tensor.shape)

        return StackedSamples(pick(self.x), pick(self.target), pick(self.digits))

    def batches(self, size: int) -> zip[tuple[Tensor, Tensor, Tensor]]:
        """(x, target, digits) views of at most `size` samples each."""
        return zip(self.x.split(size, 1), self.target.split(size, 1), self.digits.split(size, 1), strict=True)


class ChunkTraining:
    """The state of one chunk while it trains. `dtype` is that of the weights; `bfloat16` rounds them for each step."""

    def __init__(
        self,
        chunk: Chunk,
        train: DigitSet,
        held_out: DigitSet,
        *,
        dtype: torch.dtype = torch.float32,
        bfloat16: bool = False,
        device: str = "cpu",
    ) -> None:
        self.chunk = chunk
        self.variant = get_variant(chunk.variant)
        replicas = chunk.replicas
        networks = [build_network(self.variant, replica.seed, *replica.name, dtype=dtype) for replica in replicas]
        self.networks = ReplicaNetworks(networks, bfloat16=bfloat16, device=device)
        self.networks.use_generators([_generator(replica, "dropout") for replica in replicas])
        self.step = make_step(
            self.networks,
            [replica.hyper for replica in replicas],
            auxiliary_loss=self.variant.auxiliary_loss,
            compiled=chunk.compiled,
        )
        self.orders = [_generator(replica, "order") for replica in replicas]
        self.augmentations = [_generator(replica, "augmentation") for replica in replicas]
        grey = StackedSamples.gather(train, [replica.train for replica in replicas], dtype, device)
        held_out_grey = StackedSamples.gather(held_out, [replica.held_out for replica in replicas], dtype, device)
        self.mean_R, self.std_R = mean_and_std(grey.x.flatten(1))
        self.black = (-self.mean_R / self.std_R).tolist()
        self.train_samples = grey.standardised(self.mean_R, self.std_R, self.networks.dtype)
        self.held_out_samples = held_out_grey.standardised(self.mean_R, self.std_R, self.networks.dtype)
        self.active = list(range(len(replicas)))
        """Positions in the chunk of the replicas that still train."""
        self.records = [Record(replica) for replica in replicas]

    def run(self, tick: Callable[[int], None]) -> list[Outcome]:
        """Train to the end; `tick` is told of replica-epochs that are done or have become needless."""
        started = time.perf_counter()
        curve_E: list[float] = []
        epoch = 0
        while self.active:
            epoch += 1
            trained = len(self.active)
            self._record_epoch(*self.train_epoch(epoch), *self._evaluate(self.held_out_samples)[:2])
            curve_E.append(float(np.mean([self.records[position].held_out_error_E[-1] for position in self.active])))
            self._read_train_error(epoch)
            stop = self.chunk.stop is not None and self.chunk.stop(curve_E)
            skipped = self._leave(epoch, stop=stop)
            tick(trained + skipped)
        seconds = time.perf_counter() - started
        per_epoch = seconds / sum(len(record.train_loss_E) for record in self.records)
        return [
            record.outcome(per_epoch, float(mean), float(std))
            for record, mean, std in zip(self.records, self.mean_R, self.std_R, strict=True)
        ]

    def train_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """One pass over the training pairs, counted from 1; mean loss (R,) and error (R,) while learning."""
        self.networks.model.train()
        self.step.optimiser.begin_epoch(epoch - 1)
        samples = self._epoch_samples()
        losses, comparisons = [], []
        for x, target, digits in samples.batches(self.chunk.replicas[0].hyper.batch_size):
            loss_R, comparison = self.step(x, target, digits)
            losses.append(loss_R * target.shape[1])
            comparisons.append(comparison)
        count = samples.target.shape[1]
        wrong_R = (lesser_or_equal(torch.cat(comparisons, 1)) != samples.target).sum(1)
        return torch.stack(losses).sum(0) / count, wrong_R.double() / count

    def seconds_per_step(self, seconds: float = 0.3) -> float:
        """The time of a step, the median of as many as fit into `seconds`; the training is of no use afterwards."""
        self.networks.model.train()
        self.step.optimiser.begin_epoch(0)
        batch = next(self._epoch_samples().batches(self.chunk.replicas[0].hyper.batch_size))
        self.step(*batch)
        times: list[float] = []
        while sum(times) < seconds or len(times) < 3:
            started = time.perf_counter()
            self.step(*batch)
            if batch[0].is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return float(np.median(times))

    def _epoch_samples(self) -> StackedSamples:
        count = self.train_samples.target.shape[1]
        order_RN = torch.stack([torch.randperm(count, generator=self.orders[position]) for position in self.active])
        samples = self.train_samples.shuffled(order_RN)
        for row, position in enumerate(self.active):
            name = self.records[position].replica.hyper.augmentation
            if name != "none":
                samples.x[row] = augment(samples.x[row], name, self.black[position], self.augmentations[position])
        return samples

    @torch.inference_mode()
    def _evaluate(self, samples: StackedSamples) -> tuple[Tensor, Tensor, Tensor]:
        """Mean loss (R,), error (R,) and predictions (R, N) without learning."""
        self.networks.model.eval()
        losses, comparisons = [], []
        for x, target, digits in samples.batches(EVALUATION_BATCH):
            loss_R, comparison = self.step.evaluate(x, target, digits)
            losses.append(loss_R * target.shape[1])
            comparisons.append(comparison)
        count = samples.target.shape[1]
        predictions_RN = lesser_or_equal(torch.cat(comparisons, 1))
        wrong_R = (predictions_RN != samples.target).sum(1)
        return torch.stack(losses).sum(0) / count, wrong_R.double() / count, predictions_RN

    def _record_epoch(self, *curves: Tensor) -> None:
        for position, (train_loss, train_error, loss, error) in zip(
            self.active, torch.stack([curve.double() for curve in curves], 1).tolist(), strict=True
        ):
            record = self.records[position]
            record.train_loss_E.append(train_loss)
            record.train_error_E.append(train_error)
            record.held_out_loss_E.append(loss)
            record.held_out_error_E.append(error)

    def _read_train_error(self, epoch: int) -> None:
        rows = [row for row, position in enumerate(self.active) if self.records[position].reads(epoch)]
        if rows:
            errors = self._evaluate(self.train_samples)[1].tolist()
            for row in rows:
                record = self.records[self.active[row]]
                if record.is_finite():
                    record.train_error_at[epoch] = errors[row]

    def _leave(self, epoch: int, *, stop: bool) -> int:
        """Part with the replicas that are done; the number of epochs that they will not need."""
        staying, complete, skipped = [], [], 0
        for row, position in enumerate(self.active):
            record = self.records[position]
            status = record.status_after(epoch, stop)
            if status is None:
                staying.append(row)
                continue
            record.end(status, epoch)
            if status == "complete":
                complete.append(row)
            skipped += record.replica.hyper.epochs - epoch
        if complete and self.chunk.keep_models:
            self._keep_models(complete)
        if len(staying) < len(self.active):
            self._select(torch.tensor(staying, dtype=torch.int64))
        return skipped

    def _keep_models(self, rows: list[int]) -> None:
        predictions_RN = self._evaluate(self.held_out_samples)[2]
        for row in rows:
            record = self.records[self.active[row]]
            record.predictions_M = predictions_RN[row].cpu().numpy().copy()
            record.weights = {
                name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
                for name, tensor in self.networks.state(row).items()
            }

    def _select(self, keep: Tensor) -> None:
        self.active = [self.active[row] for row in keep.tolist()]
        if self.active:
            keep = keep.to(self.networks.values.device)
            self.step.select(keep)
            self.train_samples = self.train_samples.select(keep)
            self.held_out_samples = self.held_out_samples.select(keep)


def mean_and_std(x_RD: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each row; `Tensor.std` takes 5 times as long."""
    mean_R = x_RD.mean(1)
    distance_R = torch.linalg.vector_norm(x_RD - mean_R.unsqueeze(1), dim=1)
    return mean_R, distance_R / (x_RD.shape[1] - 1) ** 0.5


def _generator(replica: Replica, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(replica.seed, purpose, *replica.name))


class Record:
    """What has been seen of one replica so far."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.train_loss_E: list[float] = []
        self.train_error_E: list[float] = []
        self.held_out_loss_E: list[float] = []
        self.held_out_error_E: list[float] = []
        self.train_error_at: dict[int, float] = {}
        self.status: Status = "complete"
        self.reason = ""
        self.weights: dict[str, np.ndarray] | None = None
        self.predictions_M: np.ndarray | None = None

    def reads(self, epoch: int) -> bool:
        """Whether the error on all training pairs is wanted after this epoch."""
        return epoch == self.replica.hyper.epochs or epoch in self.replica.read_at or self.is_stuck()

    def is_finite(self) -> bool:
        """Whether the losses of the last epoch are numbers."""
        return bool(np.isfinite([self.train_loss_E[-1], self.held_out_loss_E[-1]]).all())

    def status_after(self, epoch: int, stop: bool) -> Status | None:
        """How the replica ends with this epoch, or None if it goes on."""
        if not self.is_finite():
            return "diverged"
        if epoch == self.replica.hyper.epochs:
            return "complete"
        return "stopped" if stop or self.is_stuck() else None

    def is_stuck(self) -> bool:
        """Whether the held-out error has not fallen for as many epochs as the replica has patience."""
        best = int(np.argmin(self.held_out_error_E))
        return 0 < self.replica.patience <= len(self.held_out_error_E) - 1 - best

    def end(self, status: Status, epoch: int) -> None:
        """Note how and why it ended."""
        self.status = status
        if status == "diverged":
            loss = self.train_loss_E[-1] if not np.isfinite(self.train_loss_E[-1]) else self.held_out_loss_E[-1]
            self.reason = f"the loss became {loss} in epoch {epoch}"
        elif status == "stopped" and self.is_stuck():
            self.reason = f"stopped after epoch {epoch}: no lower error for {self.replica.patience} epochs"
        elif status == "stopped":
            self.reason = f"stopped after epoch {epoch}"

    def outcome(self, seconds_per_epoch: float, mean: float, std: float) -> Outcome:
        """The finished record."""
        return Outcome(
            status=self.status,
            reason=self.reason,
            train_loss_E=np.array(self.train_loss_E),
            train_error_E=np.array(self.train_error_E),
            held_out_loss_E=np.array(self.held_out_loss_E),
            held_out_error_E=np.array(self.held_out_error_E),
            train_error_at=self.train_error_at,
            seconds_per_epoch=seconds_per_epoch,
            mean=mean,
            std=std,
            weights=self.weights,
            predictions_M=self.predictions_M,
        )


def lesser_or_equal(comparison: Tensor) -> Tensor:
    """Which pairs (..., 2) of logits say that the first digit is lesser than or equal to the second."""
    return comparison[..., 1] > comparison[..., 0]

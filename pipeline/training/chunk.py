"""Train one chunk: R replicas as one batched program in one process.

Replicas are independent although they share every call: the loss is the sum of each one's mean, so one `backward()`
gives each its own gradient. A replica leaves when its epochs are over, when its job is stopped, or when its loss is no
longer finite; the others go on without it.
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
from pipeline.training.loss import pair_loss_R
from pipeline.training.optimiser import ReplicaAdam
from pipeline.training.plan import Chunk, Outcome, Replica
from pipeline.training.stack import replica_state, select_replicas, stack, write_replica

EVALUATION_BATCH = 100
Status = Literal["complete", "stopped", "diverged"]


class StackedSamples:
    """The samples of R replicas: x (R, N, 2, 14, 14), target (R, N), digits (R, N, 2)."""

    def __init__(self, x: Tensor, target: Tensor, digits: Tensor) -> None:
        self.x, self.target, self.digits = x, target, digits

    @classmethod
    def gather(cls, digits: DigitSet, pairs_R: Sequence[Pairs], dtype: torch.dtype) -> StackedSamples:
        """Look the pairs of every replica up, as grey values."""
        samples = [gather(digits, pairs) for pairs in pairs_R]
        return cls(
            torch.from_numpy(np.stack([sample.x_NCHW for sample in samples])).to(dtype),
            torch.from_numpy(np.stack([sample.target_N for sample in samples])),
            torch.from_numpy(np.stack([sample.digits_NC for sample in samples])),
        )

    def standardise(self, mean_R: Tensor, std_R: Tensor) -> None:
        """x := (x - mean) / std, in place."""
        shape = (-1, 1, 1, 1, 1)
        self.x.sub_(mean_R.view(shape)).div_(std_R.view(shape))

    def select(self, keep: Tensor) -> StackedSamples:
        """The samples of some replicas."""
        return StackedSamples(self.x[keep], self.target[keep], self.digits[keep])

    def shuffled(self, order_RN: Tensor) -> StackedSamples:
        """Each replica's samples in its own order, copied once so that batches are views."""
        replicas, samples = order_RN.shape
        index = (order_RN + torch.arange(replicas).unsqueeze(1) * samples).flatten()

        def pick(tensor: Tensor) -> Tensor:
            return tensor.flatten(0, 1).index_select(0, index).view(tensor.shape)

        return StackedSamples(pick(self.x), pick(self.target), pick(self.digits))

    def batches(self, size: int) -> zip[tuple[Tensor, Tensor, Tensor]]:
        """(x, target, digits) views of at most `size` samples each."""
        return zip(self.x.split(size, 1), self.target.split(size, 1), self.digits.split(size, 1), strict=True)


class ChunkTraining:
    """The state of one chunk while it trains."""

    def __init__(self, chunk: Chunk, train: DigitSet, held_out: DigitSet, dtype: torch.dtype) -> None:
        self.chunk = chunk
        self.variant = get_variant(chunk.variant)
        replicas = chunk.replicas
        networks = [build_network(self.variant, replica.seed, *replica.name, dtype=dtype) for replica in replicas]
        self.model = stack(networks[0], len(replicas))
        for position, network in enumerate(networks):
            write_replica(self.model, position, network.state_dict())
        self.optimiser = ReplicaAdam(list(self.model.parameters()), [replica.hyper.lr for replica in replicas])
        self.alpha_R = torch.tensor([replica.hyper.alpha for replica in replicas], dtype=dtype)
        self.orders = [
            torch.Generator().manual_seed(derive(replica.seed, "order", *replica.name)) for replica in replicas
        ]
        self.train_samples = StackedSamples.gather(train, [replica.train for replica in replicas], dtype)
        self.held_out_samples = StackedSamples.gather(held_out, [replica.held_out for replica in replicas], dtype)
        self.mean_R = self.train_samples.x.mean((1, 2, 3, 4))
        self.std_R = self.train_samples.x.std((1, 2, 3, 4))
        self.train_samples.standardise(self.mean_R, self.std_R)
        self.held_out_samples.standardise(self.mean_R, self.std_R)
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
            self._record_epoch(*self._train_epoch(), *self._evaluate(self.held_out_samples)[:2])
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

    def _train_epoch(self) -> tuple[Tensor, Tensor]:
        """One pass over the training pairs; mean loss (R,) and error (R,) while learning."""
        self.model.train()
        samples = self.train_samples.target.shape[1]
        order_RN = torch.stack([torch.randperm(samples, generator=self.orders[position]) for position in self.active])
        loss_R = torch.zeros(len(self.active), dtype=self.alpha_R.dtype)
        wrong_R = torch.zeros(len(self.active), dtype=torch.int64)
        alpha_R = self.alpha_R if self.variant.auxiliary_loss else None
        batch_size = self.chunk.replicas[0].hyper.batch_size
        for x, target, digits in self.train_samples.shuffled(order_RN).batches(batch_size):
            output = self.model(x)
            batch_loss_R = pair_loss_R(output, target, digits, alpha_R)
            batch_loss_R.sum().backward()
            self.optimiser.step()
            with torch.no_grad():
                loss_R += batch_loss_R * target.shape[1]
                wrong_R += (lesser_or_equal(output.comparison) != target).sum(1)
        return loss_R / samples, wrong_R.double() / samples

    @torch.inference_mode()
    def _evaluate(self, samples: StackedSamples) -> tuple[Tensor, Tensor, Tensor]:
        """Mean loss (R,), error (R,) and predictions (R, N) without learning."""
        self.model.eval()
        alpha_R = self.alpha_R if self.variant.auxiliary_loss else None
        count = samples.target.shape[1]
        loss_R = torch.zeros(len(self.active), dtype=self.alpha_R.dtype)
        predictions = []
        for x, target, digits in samples.batches(EVALUATION_BATCH):
            output = self.model(x)
            loss_R += pair_loss_R(output, target, digits, alpha_R) * target.shape[1]
            predictions.append(lesser_or_equal(output.comparison))
        predictions_RN = torch.cat(predictions, 1)
        return loss_R / count, (predictions_RN != samples.target).sum(1).double() / count, predictions_RN

    def _record_epoch(self, train_loss: Tensor, train_error: Tensor, loss: Tensor, error: Tensor) -> None:
        for row, position in enumerate(self.active):
            record = self.records[position]
            record.train_loss_E.append(float(train_loss[row]))
            record.train_error_E.append(float(train_error[row]))
            record.held_out_loss_E.append(float(loss[row]))
            record.held_out_error_E.append(float(error[row]))

    def _read_train_error(self, epoch: int) -> None:
        if any(self.records[position].reads(epoch) for position in self.active):
            _, error_R, _ = self._evaluate(self.train_samples)
            for row, position in enumerate(self.active):
                record = self.records[position]
                if record.reads(epoch) and record.is_finite():
                    record.train_error_at[epoch] = float(error_R[row])

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
            record.predictions_M = predictions_RN[row].numpy().copy()
            record.weights = {
                name: tensor.float().contiguous().numpy().copy()
                for name, tensor in replica_state(self.model, row).items()
            }

    def _select(self, keep: Tensor) -> None:
        self.active = [self.active[row] for row in keep.tolist()]
        if self.active:
            select_replicas(self.model, keep)
            self.optimiser.select(keep)
            self.alpha_R = self.alpha_R[keep]
            self.train_samples = self.train_samples.select(keep)
            self.held_out_samples = self.held_out_samples.select(keep)


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
        return epoch == self.replica.hyper.epochs or epoch in self.replica.read_at

    def is_finite(self) -> bool:
        """Whether the losses of the last epoch are numbers."""
        return bool(np.isfinite([self.train_loss_E[-1], self.held_out_loss_E[-1]]).all())

    def status_after(self, epoch: int, stop: bool) -> Status | None:
        """How the replica ends with this epoch, or None if it goes on."""
        if not self.is_finite():
            return "diverged"
        if epoch == self.replica.hyper.epochs:
            return "complete"
        return "stopped" if stop else None

    def end(self, status: Status, epoch: int) -> None:
        """Note how and why it ended."""
        self.status = status
        if status == "diverged":
            loss = self.train_loss_E[-1] if not np.isfinite(self.train_loss_E[-1]) else self.held_out_loss_E[-1]
            self.reason = f"the loss became {loss} in epoch {epoch}"
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


def train_chunk(
    chunk: Chunk,
    train: DigitSet,
    held_out: DigitSet,
    tick: Callable[[int], None] = lambda _: None,
    dtype: torch.dtype = torch.float32,
) -> list[Outcome]:
    """Train a chunk in this process; outcomes in the order of its replicas."""
    return ChunkTraining(chunk, train, held_out, dtype).run(tick)

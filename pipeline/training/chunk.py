"""Train one chunk: R replicas as one batched program in one process.

Replicas are independent although they share every call: the loss is the sum of each one's mean, so one `backward()`
gives each its own gradient. A replica leaves when its epochs are over, when it or its job is stopped, or when its loss
is no longer finite; the others go on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline import mini
from pipeline.base.seeds import derive
from pipeline.data.pools import Pool, Positions
from pipeline.models.initial import build_network, weights_generator
from pipeline.models.registry import get_variant
from pipeline.training.augmentation import augment
from pipeline.training.network import ReplicaNetworks
from pipeline.training.plan import Chunk, Outcome, Replica
from pipeline.training.step import MiniStep, Step, make_step

EVALUATION_BATCH = 100
Status = Literal["complete", "stopped", "diverged"]
WHITE = 255.0
"""The greatest grey value."""


class StackedSamples:
    """The samples of R replicas: x (R, N, 2, 14, 14) or (R, N, 2), target (R, N), digits (R, N, 2 or 0)."""

    def __init__(self, x: Tensor, target: Tensor, digits: Tensor) -> None:
        self.x, self.target, self.digits = x, target, digits

    @classmethod
    def gather(cls, pool: Pool, positions_R: Sequence[Positions], dtype: torch.dtype, device: str) -> StackedSamples:
        """Look the samples of every replica up, with inputs as they are in the pool."""
        samples = [pool.gather(positions) for positions in positions_R]
        return cls(
            torch.from_numpy(np.stack([sample.x for sample in samples])).to(device, dtype),
            torch.from_numpy(np.stack([sample.target_N for sample in samples])).to(device),
            torch.from_numpy(np.stack([sample.digits_NC for sample in samples])).to(device),
        )

    def standardised(self, mean_R: Tensor, std_R: Tensor, dtype: torch.dtype) -> StackedSamples:
        """With x := (x - mean) / std, rounded to `dtype`."""
        shape = (-1, *[1] * (self.x.dim() - 1))
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

    def batches(self, size: int, *, least: int = 1) -> zip[tuple[Tensor, Tensor, Tensor]]:
        """(x, target, digits) views of at most `size` samples each.

        A last batch of fewer than `least` samples is added to the one before it.
        """
        count = self.target.shape[1]
        sizes = [min(size, count - start) for start in range(0, count, size)]
        if len(sizes) > 1 and sizes[-1] < least:
            sizes[-2:] = [sum(sizes[-2:])]
        return zip(self.x.split(sizes, 1), self.target.split(sizes, 1), self.digits.split(sizes, 1), strict=True)


class Evaluation(NamedTuple):
    """What R replicas make of N samples each."""

    loss_R: Tensor
    error_R: Tensor
    digit_error_R: Tensor | None
    answers_RN: Tensor


class ChunkTraining:
    """The state of one chunk while it trains. `dtype` is that of the weights; `bfloat16` rounds them for each step."""

    def __init__(
        self,
        chunk: Chunk,
        train: Pool,
        held_out: Pool,
        *,
        dtype: torch.dtype = torch.float32,
        bfloat16: bool = False,
        device: str = "cpu",
    ) -> None:
        self.chunk = chunk
        self.variant = get_variant(chunk.variant)
        replicas = chunk.replicas
        self.step = _make_step(chunk, dtype=dtype, bfloat16=bfloat16, device=device)
        self.orders = [_generator(replica, "order") for replica in replicas]
        self.augmentations = [_generator(replica, "augmentation") for replica in replicas]
        grey = StackedSamples.gather(train, [replica.train for replica in replicas], dtype, device)
        held_out_grey = StackedSamples.gather(held_out, [replica.held_out for replica in replicas], dtype, device)
        self.mean_R, self.std_R = _centre_and_scale(grey.x, [replica.hyper.inputs for replica in replicas])
        self.black = (-self.mean_R / self.std_R).tolist()
        self.train_samples = grey.standardised(self.mean_R, self.std_R, self.step.dtype)
        self.held_out_samples = held_out_grey.standardised(self.mean_R, self.std_R, self.step.dtype)
        self.active = list(range(len(replicas)))
        """Positions in the chunk of the replicas that still train."""
        self.records = [Record(replica) for replica in replicas]

    def run(self, tick: Callable[[int], None]) -> list[Outcome]:
        """Train to the end; `tick` is told of replica-epochs that are done or have become needless."""
        started = time.perf_counter()
        epoch = 0
        while self.active:
            epoch += 1
            trained = len(self.active)
            self._record_epoch(*self.train_epoch(epoch), self._evaluate(self.held_out_samples))
            self._read_train_error(epoch)
            skipped = self._leave(epoch, self._stopped())
            tick(trained + skipped)
        seconds = time.perf_counter() - started
        per_epoch = seconds / sum(len(record.train_loss_E) for record in self.records)
        return [
            record.outcome(per_epoch, float(mean), float(std))
            for record, mean, std in zip(self.records, self.mean_R, self.std_R, strict=True)
        ]

    def train_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """One pass over the training samples, counted from 1; mean loss (R,) and error (R,) while learning."""
        self.step.begin_epoch(epoch - 1)
        samples = self._epoch_samples()
        losses, verdicts = [], []
        for x, target, digits in self._batches(samples):
            loss_R, verdict = self.step(x, target, digits)
            losses.append(loss_R * target.shape[1])
            verdicts.append(verdict)
        count = samples.target.shape[1]
        wrong_R = (self.step.objective.answers(torch.cat(verdicts, 1)) != samples.target).sum(1)
        return torch.stack(losses).sum(0) / count, wrong_R.double() / count

    def _batches(self, samples: StackedSamples) -> zip[tuple[Tensor, Tensor, Tensor]]:
        return samples.batches(self.chunk.replicas[0].hyper.batch_size, least=2 if self.step.needs_two else 1)

    def seconds_per_step(self, seconds: float = 0.3) -> float:
        """The time of a step, the median of as many as fit into `seconds`; the training is of no use afterwards."""
        self.step.begin_epoch(0)
        batch = next(self._batches(self._epoch_samples()))
        self.step(*batch)
        times: list[float] = []
        while sum(times) < seconds or len(times) < 3:
            started = time.perf_counter()
            self.step(*batch)
            if batch[0].is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return float(np.median(times))

    def seconds_per_epoch(self) -> float:
        """The time of an epoch with all replicas, from a few steps; the training is of no use afterwards."""
        steps = self.chunk.epoch_steps * self.seconds_per_step()
        started = time.perf_counter()
        self._evaluate(self.held_out_samples)
        return steps + time.perf_counter() - started

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
    def _evaluate(self, samples: StackedSamples) -> Evaluation:
        """What the replicas make of samples without learning."""
        self.step.begin_evaluation()
        objective = self.step.objective
        losses, verdicts, scores = [], [], []
        for x, target, digits in samples.batches(EVALUATION_BATCH):
            loss_R, output = self.step.evaluate(x, target, digits)
            losses.append(loss_R * target.shape[1])
            verdicts.append(objective.verdict(output))
            if self.variant.recognises_digits and (digit_scores := objective.digits(output)) is not None:
                scores.append(digit_scores)
        count = samples.target.shape[1]
        answers_RN = objective.answers(torch.cat(verdicts, 1))
        wrong_R = (answers_RN != samples.target).sum(1)
        digit_error_R = None
        if scores:
            misread_R = (torch.cat(scores, 1).argmax(-1) != samples.digits).sum((1, 2))
            digit_error_R = misread_R.double() / samples.digits[0].numel()
        return Evaluation(torch.stack(losses).sum(0) / count, wrong_R.double() / count, digit_error_R, answers_RN)

    def _record_epoch(self, train_loss_R: Tensor, train_error_R: Tensor, held_out: Evaluation) -> None:
        curves = [train_loss_R, train_error_R, held_out.loss_R, held_out.error_R]
        if held_out.digit_error_R is not None:
            curves.append(held_out.digit_error_R)
        for position, values in zip(
            self.active, torch.stack([curve.double() for curve in curves], 1).tolist(), strict=True
        ):
            self.records[position].append(*values)

    def _read_train_error(self, epoch: int) -> None:
        rows = [row for row, position in enumerate(self.active) if self.records[position].reads(epoch)]
        if rows:
            found = self._evaluate(self.train_samples)
            errors = found.error_R.tolist()
            digit_errors = None if found.digit_error_R is None else found.digit_error_R.tolist()
            for row in rows:
                record = self.records[self.active[row]]
                if record.is_finite():
                    record.train_error_at[epoch] = errors[row]
                    if digit_errors is not None:
                        record.train_digit_error_at[epoch] = digit_errors[row]

    def _stopped(self) -> set[int]:
        """Positions of the replicas whose rule says after this epoch that they stop."""
        active = set(self.active)
        stopped: set[int] = set()
        for team in self.chunk.teams:
            present = [self.records[row] for row in team.rows if row in active]
            if present and team.stop([record.held_out_error_E for record in present]):
                stopped.update(team.rows)
        return stopped

    def _leave(self, epoch: int, stopped: set[int]) -> int:
        """Part with the replicas that are done; the number of epochs that they will not need."""
        staying, complete, skipped = [], [], 0
        for row, position in enumerate(self.active):
            record = self.records[position]
            status = record.status_after(epoch, position in stopped)
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
        answers_RN = self._evaluate(self.held_out_samples).answers_RN
        for row in rows:
            record = self.records[self.active[row]]
            record.answers_M = answers_RN[row].cpu().numpy().copy()
            record.weights = {
                name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
                for name, tensor in self.step.state(row).items()
            }

    def _select(self, keep: Tensor) -> None:
        self.active = [self.active[row] for row in keep.tolist()]
        if self.active:
            keep = keep.to(self.train_samples.x.device)
            self.step.select(keep)
            self.train_samples = self.train_samples.select(keep)
            self.held_out_samples = self.held_out_samples.select(keep)


def _centre_and_scale(x: Tensor, inputs_R: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What is taken from the grey values of each replica, and what they are then divided by."""
    mean_R, std_R = mean_and_std(x.flatten(1))
    for row, inputs in enumerate(inputs_R):
        if inputs != "standardised":
            mean_R[row], std_R[row] = 0.0, WHITE if inputs == "unit" else 1.0
    return mean_R, std_R


def mean_and_std(x_RD: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each row; `Tensor.std` takes 5 times as long."""
    mean_R = x_RD.mean(1)
    distance_R = torch.linalg.vector_norm(x_RD - mean_R.unsqueeze(1), dim=1)
    return mean_R, distance_R / (x_RD.shape[1] - 1) ** 0.5


def _make_step(chunk: Chunk, *, dtype: torch.dtype, bfloat16: bool, device: str) -> Step:
    variant, replicas = get_variant(chunk.variant), chunk.replicas
    hypers, structure = [replica.hyper for replica in replicas], replicas[0].hyper.structure
    network = variant.build(structure)
    if isinstance(network, mini.Sequential):
        weights = [weights_generator(replica.seed, *replica.name) for replica in replicas]
        return MiniStep(network, hypers, weights, objective=variant.objective, dtype=dtype, device=device)
    networks = ReplicaNetworks(
        [build_network(variant, part.seed, *part.name, structure=structure, dtype=dtype) for part in replicas],
        bfloat16=bfloat16,
        device=device,
    )
    networks.use_generators([_generator(replica, "dropout") for replica in replicas])
    return make_step(networks, hypers, variant, compiled=chunk.compiled)


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
        self.held_out_digit_error_E: list[float] = []
        self.train_error_at: dict[int, float] = {}
        self.train_digit_error_at: dict[int, float] = {}
        self.status: Status = "complete"
        self.reason = ""
        self.weights: dict[str, np.ndarray] | None = None
        self.answers_M: np.ndarray | None = None

    def append(
        self, train_loss: float, train_error: float, loss: float, error: float, digit_error: float | None = None
    ) -> None:
        """Note what an epoch gave."""
        self.train_loss_E.append(train_loss)
        self.train_error_E.append(train_error)
        self.held_out_loss_E.append(loss)
        self.held_out_error_E.append(error)
        if digit_error is not None:
            self.held_out_digit_error_E.append(digit_error)

    def reads(self, epoch: int) -> bool:
        """Whether the errors on all training samples are wanted after this epoch."""
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
            held_out_digit_error_E=np.array(self.held_out_digit_error_E),
            train_error_at=self.train_error_at,
            train_digit_error_at=self.train_digit_error_at,
            seconds_per_epoch=seconds_per_epoch,
            mean=mean,
            std=std,
            weights=self.weights,
            answers_M=self.answers_M,
        )

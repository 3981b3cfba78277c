"""The cross validation of one trial, as a plain loop over its folds.

F fold, E epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch

from benchmarks.peers.plain import train
from benchmarks.work import LEARNING_RATE, SEED, Curves, Task
from pipeline.data.dataset import Dataset, Indices
from pipeline.data.folds import split_folds
from pipeline.data.rounds import draw_samples
from pipeline.models.hyperparameters import Hyperparameters


@dataclass(frozen=True, kw_only=True)
class FoldTask(Task):
    """One trial. Replica r is its fold r, of the same split as in `variantlab search` with seed 0."""

    model: str = "mlp_ws_al"
    batch_size: int = 25
    folds: int = 5
    epochs: int = 25
    lr: float = LEARNING_RATE
    alpha: float = 1.0

    def pairs_of(self, replica: int) -> tuple[Indices, Indices]:
        """The training and the validation pairs of a fold."""
        pairs = draw_samples("train", self.train, self.pairs, seed=SEED, round_=0)
        return list(split_folds(pairs, self.folds, seed=SEED, round_=0, data=self.train))[replica]

    def hyper(self, epochs: int) -> Hyperparameters:
        """The configuration of the trial, with so many epochs."""
        return super().hyper(epochs).replaced({"lr": self.lr, "alpha": self.alpha})


def make_task(digits: Dataset) -> FoldTask:
    """The job of every contestant; test digits take no part."""
    return FoldTask(train=digits, held_out=digits)


@cache
def warm_up() -> None:
    """Let torch load what it loads when a process first trains, which is no part of a search."""
    parameter = torch.zeros((), requires_grad=True)
    adam = torch.optim.Adam([parameter])
    parameter.square().backward()
    adam.step()


class CrossValidation:
    """What a trial is worth. Its tensors are prepared once and serve all trials of a process."""

    def __init__(self, task: FoldTask) -> None:
        self.task = task
        self.parts_F = [task.samples(fold) for fold in range(task.folds)]

    def curves(self, lr: float, alpha: float) -> list[Curves]:
        """Train every fold anew."""
        # Here and not at the start of the process, because each thread of a process has a setting of its own.
        torch.set_num_threads(self.task.threads)
        task = replace(self.task, lr=lr, alpha=alpha)
        return [train(task, fold, parts, task.epochs, lr=lr) for fold, parts in enumerate(self.parts_F)]

    def __call__(self, lr: float, alpha: float) -> float:
        """Mean validation error over folds after the last epoch."""
        errors_F = [curves.held_out_error_E[-1] for curves in self.curves(lr, alpha)]
        return sum(errors_F) / len(errors_F)

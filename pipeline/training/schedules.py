"""Learning rates by epoch, as `torch.optim.lr_scheduler` has them when stepped once an epoch."""

from __future__ import annotations

import math

from pipeline.models.hyperparameters import Hyperparameters


def learning_rate(hyper: Hyperparameters, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0.

    Cosine annealing (Loshchilov and Hutter, 2017) goes from `lr` to `lr_min`: over all epochs, or over `restart_epochs`
    and then again from `lr`.
    """
    if hyper.schedule == "constant":
        return hyper.lr
    whole = hyper.epochs if hyper.schedule == "cosine" else hyper.restart_epochs
    return hyper.lr_min + (hyper.lr - hyper.lr_min) * (1 + math.cos(math.pi * (epoch % whole) / whole)) / 2

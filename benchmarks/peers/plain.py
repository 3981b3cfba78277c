"""The ordinary PyTorch loop, one replica: what the other contestants are measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.work import LEARNING_RATE, Curves, Samples, Task, Training


def build(task: Task, replicas: range) -> Training:
    """The training of one replica."""
    torch.set_num_threads(task.threads)
    parts = task.samples(replicas.start)

    def run(epochs: int) -> Curves:
        return train(task, replicas.start, parts, epochs, lr=LEARNING_RATE)

    return run


def train(task: Task, replica: int, parts: tuple[Samples, Samples], epochs: int, *, lr: float) -> Curves:
    """Train a replica: default Adam, batches by a permutation, no synchronisation in the loop."""
    samples, held_out = parts
    network = task.network(replica)
    adam = torch.optim.Adam(network.parameters(), lr=lr)
    order = task.generator(replica)
    loss_E, error_E = [], []
    for _ in range(epochs):
        loss_E.append(_train_epoch(task, network, adam, samples, order))
        error_E.append(_error(task, network, held_out))
    return Curves(loss_E=[float(loss) for loss in loss_E], held_out_error_E=[float(error) for error in error_E])


def _train_epoch(
    task: Task, network: nn.Module, adam: torch.optim.Adam, train: Samples, order: torch.Generator
) -> Tensor:
    network.train()
    total = torch.zeros(())
    for batch in torch.randperm(len(train.target), generator=order).split(task.batch_size):
        adam.zero_grad()
        loss = task.loss(network(train.x[batch]), train.target[batch], train.digits[batch])
        loss.backward()
        adam.step()
        total += loss.detach() * len(batch)
    return total / len(train.target)


@torch.inference_mode()
def _error(task: Task, network: nn.Module, held_out: Samples) -> Tensor:
    network.eval()
    return task.error(network(held_out.x)[0], held_out.target)

"""Lightning: a `LightningModule` and a `Trainer` without logger, checkpoints, progress bar and summary.

Losses and errors are summed by hand: `self.log` in every step would cost more.
"""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.work import LEARNING_RATE, Curves, Task, Training

Batch = tuple[Tensor, Tensor, Tensor]


class PairModule(lightning.LightningModule):
    """One replica."""

    def __init__(self, task: Task, network: nn.Module) -> None:
        super().__init__()
        self.task, self.network = task, network
        self.loss_E: list[Tensor] = []
        self.error_E: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam as everywhere."""
        return torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)

    def on_train_epoch_start(self) -> None:
        """Begin an epoch's running loss."""
        self.loss_E.append(torch.zeros(()))

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """The loss of a batch."""
        x, target, digits = batch
        loss = self.task.loss(self.network(x), target, digits)
        self.loss_E[-1] += loss.detach() * len(target)
        return loss

    def validation_step(self, batch: Batch, _index: int) -> None:
        """All held-out pairs are one batch."""
        x, target, _ = batch
        self.error_E.append(self.task.error(self.network(x)[0], target))


def build(task: Task, replicas: range) -> Training:
    """The training of one replica, from tensors in memory."""
    torch.set_num_threads(task.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # which accelerators it found
    warnings.filterwarnings("ignore", ".*does not have many workers")  # workers would slow such small samples down
    warnings.filterwarnings("ignore", ".*LeafSpec")  # its own use of torch
    warnings.filterwarnings("ignore", ".*GPU available but not used")
    train, held_out = (TensorDataset(*part) for part in task.samples(replicas.start))

    def run(epochs: int) -> Curves:
        order = task.generator(replicas.start)
        module = PairModule(task, task.network(replicas.start))
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(
            module,
            DataLoader(train, task.batch_size, shuffle=True, generator=order),
            DataLoader(held_out, len(held_out)),
        )
        return Curves(
            loss_E=[float(loss) / len(train) for loss in module.loss_E],
            held_out_error_E=[float(error) for error in module.error_E],
        )

    return run

"""torch's own fused optimisers over stacked parameters, with a learning rate for each replica."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn


class ReplicaAdam:
    """Adam (Kingma and Ba, 2015) for R replicas at their own learning rates.

    Neighbours with equal learning rates form one parameter group over a slice of every stacked parameter, so the
    folds of a trial cost one call of torch's fused kernel.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr_R: Sequence[float]) -> None:
        self.parameters = list(parameters)
        self._group(list(lr_R))

    def _group(self, lr_R: list[float]) -> None:
        self.lr_R = lr_R
        self.slices: list[tuple[slice, list[Tensor]]] = []
        for _, run in groupby(range(len(lr_R)), key=lr_R.__getitem__):
            first, *rest = run
            rows = slice(first, first + 1 + len(rest))
            self.slices.append((rows, [parameter.detach()[rows] for parameter in self.parameters]))
        groups = [{"params": parts, "lr": lr_R[rows.start]} for rows, parts in self.slices]
        self.adam = torch.optim.Adam(groups, fused=True)

    def step(self) -> None:
        """Update every replica from the gradients of the stacked parameters, then clear those."""
        for rows, parts in self.slices:
            for parameter, part in zip(self.parameters, parts, strict=True):
                assert parameter.grad is not None
                part.grad = parameter.grad[rows]
        self.adam.step()
        for parameter in self.parameters:
            parameter.grad = None

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`, whose parameters have just been selected likewise."""
        moments = [self._joined(index) for index in range(len(self.parameters))]
        self._group([self.lr_R[position] for position in keep.tolist()])
        for rows, parts in self.slices:
            for part, moment in zip(parts, moments, strict=True):
                self.adam.state[part] = {
                    key: value.clone() if key == "step" else value[keep][rows] for key, value in moment.items()
                }

    def _joined(self, index: int) -> dict[str, Tensor]:
        """The optimiser's state of one stacked parameter, over all slices."""
        states = [self.adam.state[parts[index]] for _, parts in self.slices]
        return {
            key: states[0][key] if key == "step" else torch.cat([state[key] for state in states]) for key in states[0]
        }

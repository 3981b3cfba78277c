"""What a network's outputs mean: the loss that they are trained by, and what is read from them.

Losses are one number for each replica: outputs are (R, B, ...), and so are the tensors of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from pipeline.data.dataset import Batch


class Objective(ABC):
    """How outputs are trained and read."""

    hyperparameters: frozenset[str] = frozenset()
    """Those that the loss reads: `alpha`, where there is an auxiliary loss that it weighs."""
    description: ClassVar[str]
    """What `serve` gives, in words."""

    @abstractmethod
    def loss_R(self, output: Any, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """The mean loss of each replica (R,); `hyper_R` holds its `hyperparameters`, (R,) each."""

    @abstractmethod
    def predict(self, output: Any) -> dict[str, Tensor]:
        """(..., N, ...) what metrics read, by name."""

    @abstractmethod
    def serve(self, output: Any) -> Tensor:
        """(B, ...) what an exported model gives."""


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy on logits (R, B, K); the class with the greatest is the answer."""

    description: ClassVar[str] = "P(class) of each class"

    def loss_R(self, output: Tensor, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,)."""
        return cross_entropy_R(output, batch["target"])

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """`answer` (..., N), the class."""
        return {"answer": output.argmax(-1)}

    def serve(self, output: Tensor) -> Tensor:
        """(B, K) probabilities."""
        return output.softmax(-1)


@dataclass(frozen=True)
class SquaredError(Objective):
    """Mean squared error of one output (R, B, 1) against targets that are standardised by `centre` and `scale`."""

    centre: float = 0.0
    scale: float = 1.0
    description: ClassVar[str] = "the value, in the unit of the targets"

    def loss_R(self, output: Tensor, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,)."""
        wanted_RB = (batch["target"] - self.centre) / self.scale
        return (output.squeeze(-1) - wanted_RB).square().mean(1)

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """`value` (..., N), in the unit of the targets."""
        return {"value": output.squeeze(-1) * self.scale + self.centre}

    def serve(self, output: Tensor) -> Tensor:
        """(B, 1) the same."""
        return output * self.scale + self.centre


def cross_entropy_R(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of each replica: logits (R, ..., K) and targets (R, ...) -> (R,)."""
    logits_RKM = logits.flatten(1, -2).transpose(1, 2)  # with few classes last, softmax takes 4 times as long
    return functional.cross_entropy(logits_RKM, target.flatten(1), reduction="none").mean(1)

"""What a network's outputs mean: the loss that they are trained by, and what is read from them.

Losses are one number for each replica: outputs are (R, B, ...), and so are the tensors of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor
from torch.nn import functional

from pipeline.data.dataset import Batch


class Objective(ABC):
    """How outputs are trained and read."""

    hyperparameters: frozenset[str] = frozenset()
    """Those that the loss reads: `alpha`, where there is an auxiliary loss that it weighs."""
    description: ClassVar[str]
    """What `serve` gives, in words."""

    def fit(self, samples: Batch) -> Self:
        """The objective with what it takes from the training samples (R, N, ...) of each replica, if anything."""
        return self

    def select(self, keep: Tensor) -> Self:
        """A fitted one of the replicas at positions `keep`."""
        return self

    def row(self, row: int) -> Self:
        """A fitted one of one replica."""
        return self

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

    probabilities: bool = False
    """Whether predictions have `log_probabilities`, for metrics that read them."""
    description: ClassVar[str] = "P(class) of each class"

    def loss_R(self, output: Tensor, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,)."""
        return cross_entropy_R(output, batch["target"])

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """`answer` (..., N), the class, and where they are wanted `log_probabilities` (..., N, K)."""
        answer = {"answer": output.argmax(-1)}
        return {**answer, "log_probabilities": output.log_softmax(-1)} if self.probabilities else answer

    def serve(self, output: Tensor) -> Tensor:
        """(B, K) probabilities."""
        return output.softmax(-1)


@dataclass(frozen=True)
class SquaredError(Objective):
    """Mean squared error of one output (R, B, 1) against targets that are standardised by `centre` and `scale`.

    Fitted they are the mean and the standard deviation of each replica's own training samples, (R, 1), so that
    networks learn targets of any size at the scale of their outputs; targets that are all equal are only shifted.
    """

    centre: float | Tensor = field(default=0.0, compare=False)
    scale: float | Tensor = field(default=1.0, compare=False)
    description: ClassVar[str] = "the value, in the unit of the targets"

    def fit(self, samples: Batch) -> SquaredError:
        """Of `target` (R, N)."""
        target_RN = samples["target"].double()
        centre = target_RN.mean(1, keepdim=True)
        scale = target_RN.std(1, keepdim=True, correction=int(target_RN.shape[1] > 1))
        constant = target_RN.amax(1, keepdim=True) == target_RN.amin(1, keepdim=True)
        return SquaredError(centre, scale.masked_fill(constant, 1.0))

    def select(self, keep: Tensor) -> SquaredError:
        """Of the replicas at positions `keep`."""
        return SquaredError(*(part[keep] if isinstance(part, Tensor) else part for part in (self.centre, self.scale)))

    def row(self, row: int) -> SquaredError:
        """Of one replica, with numbers in place of tensors."""
        return SquaredError(
            *(part[row].item() if isinstance(part, Tensor) else part for part in (self.centre, self.scale))
        )

    def standardised(self, value: Tensor) -> Tensor:
        """Values (R, B) at the scale of outputs."""
        return (value - self.centre) / self.scale

    def loss_R(self, output: Tensor, batch: Batch, hyper_R: Mapping[str, Tensor]) -> Tensor:
        """(R,)."""
        wanted_RB = self.standardised(batch["target"]).to(output.dtype)
        return (output.squeeze(-1) - wanted_RB).square().mean(1)

    def predict(self, output: Tensor) -> dict[str, Tensor]:
        """`value` (..., N), in the unit of the targets."""
        return {"value": (output.squeeze(-1) * self.scale + self.centre).to(output.dtype)}

    def serve(self, output: Tensor) -> Tensor:
        """(B, 1) the same of one replica."""
        return output * self.scale + self.centre


def cross_entropy_R(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of each replica: logits (R, ..., K) and targets (R, ...) -> (R,)."""
    logits_RKM = logits.flatten(1, -2).transpose(1, 2)  # with few classes last, softmax takes 4 times as long
    return functional.cross_entropy(logits_RKM, target.flatten(1), reduction="none").mean(1)

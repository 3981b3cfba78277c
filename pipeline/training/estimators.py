"""Estimators of scikit-learn's kind, with `fit` and `predict`, as replicas that are fitted in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.dataset import Batch
from pipeline.models.hyperparameters import Hyperparameters, Structure
from pipeline.models.objectives import CrossEntropy, Objective, SquaredError
from pipeline.training.step import Step

LEAST = 1e-15
"""What a probability of 0 is taken for, so that it has a logarithm."""
SEEDS = 2**32
"""How many there are of NumPy's older generator."""


class Estimator(nn.Module):
    """In place of a network where one is looked at: it trains nothing, and gives zeros of the right shape."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, outputs)."""
        return x.new_zeros(len(x), self.outputs, dtype=torch.float32)


@dataclass(frozen=True)
class Placeholder:
    """Makes what stands for an estimator."""

    outputs: int

    def __call__(self, **_options: Any) -> nn.Module:
        """Of any options."""
        return Estimator(self.outputs)


@dataclass(frozen=True)
class EstimatorTraining:
    """The `make_step` of a variant of estimators, whose `make` is a `Placeholder`."""

    make: Callable[..., Any]
    """Takes the options of the structure by name and makes an estimator that is not fitted."""
    outputs: int
    """Number of classes; 1 for a value."""
    classes: bool
    """Whether it tells classes, 0 to `outputs` - 1, and not a value."""

    def __call__(
        self,
        structure: Structure,
        hypers: Sequence[Hyperparameters],
        weights: Sequence[torch.Generator],
        *,
        objective: Objective,
        dtype: torch.dtype,
        device: str,
    ) -> EstimatorStep:
        """An estimator for each replica."""
        estimators = [self.make(**dict(structure)) for _ in hypers]
        for estimator, generator in zip(estimators, weights, strict=True):
            seed_draws(estimator, generator)
        return EstimatorStep(estimators, self, objective, dtype)


def seed_draws(estimator: Any, generator: torch.Generator) -> None:
    """Give every `random_state` that is not chosen, also of parts, a number drawn from a generator."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    for name in sorted(parameters):
        if name.rpartition("__")[2] == "random_state" and parameters[name] is None:
            [seed] = torch.randint(SEEDS, (1,), generator=generator).tolist()
            estimator.set_params(**{name: seed})


class EstimatorStep(Step):
    """R estimators, each fitted to the batch that it is given: all of its training samples."""

    whole = True

    def __init__(
        self, estimators: Sequence[Any], training: EstimatorTraining, objective: Objective, dtype: torch.dtype
    ) -> None:
        self.estimators, self.training, self.dtype = list(estimators), training, dtype
        sure = training.classes and not all(hasattr(estimator, "predict_proba") for estimator in estimators)
        without = sure and isinstance(objective, CrossEntropy)
        self.objective = replace(objective, probabilities=False) if without else objective  # type: ignore[type-var]

    def begin_epoch(self, epoch: int) -> None:
        """Nothing is to be done: each fit begins anew."""

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Fit to a batch: loss (R,) and output on the same samples."""
        with _one_thread():
            for estimator, x, target in zip(self.estimators, batch["x"], batch["target"], strict=True):
                estimator.fit(_rows(x), target.cpu().numpy())
        return self.evaluate(batch)

    def begin_evaluation(self) -> None:
        """Nothing is to be done."""

    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss (R,), and output (R, B, K) or (R, B, 1)."""
        tell = self._scores if self.training.classes else self._values
        with _one_thread():
            told = np.stack(
                [tell(estimator, _rows(x)) for estimator, x in zip(self.estimators, batch["x"], strict=True)]
            )
        output = torch.from_numpy(told).to(batch["x"].device)
        if isinstance(self.objective, SquaredError):
            output = self.objective.standardised(output)
        output = output if self.training.classes else output.unsqueeze(-1)
        return self.objective.loss_R(output, batch, {}), output

    def _scores(self, estimator: Any, x_ND: NDArray[np.generic]) -> NDArray[np.float64]:
        """(N, K): logarithms of probabilities, where it gives any; else 1 for the class that it tells."""
        found_NK = np.zeros((len(x_ND), self.training.outputs))
        if not hasattr(estimator, "predict_proba"):
            found_NK[np.arange(len(x_ND)), np.asarray(estimator.predict(x_ND)).astype(np.int64)] = 1
            return found_NK
        found_NK[:, np.asarray(estimator.classes_).astype(np.int64)] = estimator.predict_proba(x_ND)
        logarithms: NDArray[np.float64] = np.log(found_NK.clip(LEAST, 1))
        return logarithms

    def _values(self, estimator: Any, x_ND: NDArray[np.generic]) -> NDArray[np.float64]:
        """(N,) as it predicts them."""
        return np.asarray(estimator.predict(x_ND), dtype=np.float64).reshape(len(x_ND))

    def select(self, keep: Tensor) -> None:
        """Go on with the replicas at positions `keep`."""
        self.estimators = [self.estimators[row] for row in keep.tolist()]
        self.objective = self.objective.select(keep)

    def state(self, row: int) -> dict[str, Tensor]:
        """None is kept: an estimator is no network."""
        return {}


def _rows(x: Tensor) -> NDArray[np.generic]:
    """(N, ...) -> (N, D)."""
    rows: NDArray[np.generic] = x.flatten(1).cpu().numpy()
    return rows


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, libraries of linear algebra use one thread, as everything that a worker does."""
    from threadpoolctl import threadpool_limits  # of no use to networks

    with threadpool_limits(1):
        yield

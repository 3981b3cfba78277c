"""Inputs of every type reach networks as they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.dataset import ArrayDataset, Dataset
from pipeline.models.exported import Exported, trained_network
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.metrics import Metric, Unit, mean_absolute_error_R
from pipeline.models.objectives import SquaredError
from pipeline.models.transforms import StandardisedFeatures, Transforms, unscaled
from pipeline.models.variant import Variant
from pipeline.training.chunk import ChunkTraining
from pipeline.training.plan import Outcome
from pipeline.training.ways import way_of
from tests.models.foreign import foreign
from tests.training.plans import make_chunk, make_replica

SAMPLES, CLASSES = 40, 3


def dataset(x: np.ndarray, target_N: np.ndarray | None = None) -> ArrayDataset:
    classes = np.arange(SAMPLES) % CLASSES
    return ArrayDataset(x_ND=x, target_N=classes if target_N is None else target_N)


def trained(variant: Variant, data: Dataset, *names: str) -> list[Outcome]:
    """Replicas whose inputs are scaled each as its name says."""
    hypers = [Hyperparameters(lr=0.01, batch_size=7, epochs=2, inputs=name) for name in names]
    replicas = [
        make_replica(index, hyper, samples=20, held_out=20, splits=(data, data)) for index, hyper in enumerate(hypers)
    ]
    chunk = replace(make_chunk(variant, replicas, keep_models=True), way=way_of(variant, ()).way)
    outcomes = ChunkTraining(chunk, data, data).run(lambda _: None)
    for replica, outcome in zip(replicas, outcomes, strict=True):
        assert outcome.status == "complete"
        assert_serves(variant, outcome, torch.from_numpy(data.gather(replica.held_out)["x"]))
    return outcomes


def assert_serves(variant: Variant, outcome: Outcome, x: Tensor) -> None:
    """The exported model says of held-out samples what the trained one said."""
    assert outcome.weights is not None
    assert outcome.objective is not None
    weights = {name: torch.from_numpy(weight) for name, weight in outcome.weights.items()}
    mean, std, fill = (
        None if part is None else torch.from_numpy(part) for part in (outcome.mean, outcome.std, outcome.fill)
    )
    network = trained_network(variant, (), weights)
    served = Exported(network, outcome.objective, mean=mean, std=std, fill=fill).eval()(x.float())
    if "value" in outcome.predictions:
        np.testing.assert_allclose(served.detach().squeeze(1), outcome.predictions["value"], rtol=1e-5)
    else:
        assert torch.equal(served.argmax(1), torch.from_numpy(outcome.predictions["answer"]))


def test_missing_numbers_are_filled_in_and_each_replica_is_scaled_in_its_own_way() -> None:
    x_ND = np.random.default_rng(0).random((SAMPLES, 4), dtype=np.float32)
    x_ND[::5, 1], x_ND[:, 2] = np.nan, 0.5
    transforms = Transforms({"mean": StandardisedFeatures(), "median": StandardisedFeatures("median")})
    variant = foreign(lambda: nn.Linear(4, CLASSES), 4, transforms=transforms)
    mean, median = trained(variant, dataset(x_ND), "mean", "median")
    assert mean.fill is not None
    assert median.fill is not None
    assert mean.fill[1] != median.fill[1]
    assert mean.std is not None
    assert np.isinf(mean.std[2])


def test_grey_values_in_bytes_become_numbers() -> None:
    x_NCHW = np.random.default_rng(0).integers(256, size=(SAMPLES, 1, 4, 4), dtype=np.uint8)
    variant = foreign(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, CLASSES)),
        *(1, 4, 4),
        transforms=Transforms({"unscaled": unscaled}),
    )
    [outcome] = trained(variant, dataset(x_NCHW), "unscaled")
    for part, value in ((outcome.mean, 0), (outcome.std, 1)):
        assert part is not None
        assert (part == value).all()


def test_indices_are_not_scaled() -> None:
    x_NL = np.random.default_rng(0).integers(11, size=(SAMPLES, 5))
    variant = foreign(
        lambda: nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(20, CLASSES)), 5, integer_inputs=True
    )
    outcomes = trained(variant, dataset(x_NL), "standardised", "standardised")
    assert [(outcome.mean, outcome.std, outcome.fill) for outcome in outcomes] == [(None, None, None)] * 2


def test_values_are_learned_at_their_own_scale() -> None:
    x_ND = np.random.default_rng(0).random((SAMPLES, 2), dtype=np.float32)
    data = dataset(x_ND, (1e6 + 1e4 * x_ND[:, 0]).astype(np.float32))
    metrics = (Metric("mae", mean_absolute_error_R, Unit("")),)
    variant = foreign(lambda: nn.Linear(2, 1), 2, objective=SquaredError(), metrics=metrics)
    for outcome in trained(variant, data, "standardised", "standardised"):
        assert outcome.curves["train_loss"][0] < 10

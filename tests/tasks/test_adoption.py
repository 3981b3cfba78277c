"""Models of one's own as variants of a task: what they are given, what they may be told, and what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.data.arrays import arrays
from pipeline.data.config import DataConfig
from pipeline.models.own.definition import definitions_of
from pipeline.models.own.factors import factors
from pipeline.stages import evaluate
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.adoption import without_data
from pipeline.tasks.subjects import open_subject
from pipeline.training.compute import Compute
from tests.memory import MemoryRun, MemoryTracker
from tests.stages.runs import run_of
from tests.stages.silent import Silent

DRAWS = numpy_generator(0, "adoption")
VECTORS = DRAWS.normal(size=(60, 3))
IMAGES = DRAWS.integers(256, size=(60, 1, 6, 6)).astype(np.uint8)
SEQUENCES = DRAWS.normal(size=(60, 5, 2))
INDICES = DRAWS.integers(9, size=(60, 4))
INDICES[0, 0] = 8
CLASS_N = np.array(["a", "b", "c"] * 20)


class Given(nn.Module):
    """Keeps what it is given."""

    def __init__(
        self,
        input_shape: tuple[int, ...],
        in_features: int,
        in_channels: int,
        out_features: int,
        num_classes: int | None = None,
        num_embeddings: int | None = None,
    ) -> None:
        super().__init__()
        self.given = (input_shape, in_features, in_channels, out_features, num_classes, num_embeddings)
        self.last = nn.Linear(in_features, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.last(x.flatten(1).float())
        return output


def asks_for_classes(num_classes: int) -> nn.Module:
    return nn.LazyLinear(num_classes)


def asks_for_indices(num_embeddings: int, out_features: int) -> nn.Module:
    return nn.Sequential(nn.Embedding(num_embeddings, 4), nn.Flatten(), nn.LazyLinear(out_features))


def config_of(folder: Path, x: NDArray[Any], y: NDArray[Any], **said: Any) -> DataConfig:
    return DataConfig(dataset="given", cache_dir=folder, given=arrays(x, y, name="given"), **said)


@pytest.mark.parametrize(
    ("x", "y", "task", "given"),
    [
        (VECTORS, CLASS_N, "", ((3,), 3, 3, 3, 3, None)),
        (VECTORS, VECTORS[:, 0], "", ((3,), 3, 3, 1, None, None)),
        (IMAGES, CLASS_N, "", ((1, 6, 6), 36, 1, 3, 3, None)),
        (IMAGES, CLASS_N, "pairs", ((2, 6, 6), 72, 2, 2, 2, None)),
        (SEQUENCES, CLASS_N, "", ((5, 2), 10, 5, 3, 3, None)),
        (INDICES, CLASS_N, "", ((4,), 4, 4, 3, 3, 9)),
    ],
    ids=["classes", "values", "images", "pairs", "sequences", "indices"],
)
def test_the_data_fill_in_what_is_known_of_them(
    tmp_path: Path, x: NDArray[Any], y: NDArray[Any], task: str, given: tuple[object, ...]
) -> None:
    variant = open_subject(definitions_of(Given)[0], config_of(tmp_path, x, y, task=task)).variant
    network = variant.build()
    assert network.given == given
    assert network(variant.example(2)).shape == (2, given[3])
    assert (variant.options, variant.input_shape) == ((), given[0])


@pytest.mark.parametrize(
    ("make", "x", "y", "said"),
    [
        (asks_for_classes, VECTORS, VECTORS[:, 0], "num_classes is filled in from the data"),
        (asks_for_indices, VECTORS, CLASS_N, "num_embeddings is filled in from the data"),
        (asks_for_indices, INDICES - 1, CLASS_N, "num_embeddings is filled in from the data"),
        (nn.Linear(3, 3), VECTORS, CLASS_N, "every replica needs a network of its own"),
        (factors(depht=[1, 2])(lambda depth=1: nn.LazyLinear(3)), VECTORS, CLASS_N, "unexpected keyword .*'depht'"),
    ],
    ids=["classes of values", "indices of numbers", "less than 0", "one network", "unknown factor"],
)
def test_a_model_that_does_not_fit_the_data_is_refused(
    tmp_path: Path, make: Any, x: NDArray[Any], y: NDArray[Any], said: str
) -> None:
    config = config_of(tmp_path, x, y)
    with pytest.raises(InputError, match=said):
        open_subject(definitions_of(make)[0], config)


def test_without_data_it_is_known_what_can_be_searched() -> None:
    [network], [tree] = definitions_of(Given), definitions_of(DecisionTreeClassifier)
    assert {"lr", "batch_size", "epochs"} <= without_data(network).hyperparameters.keys()
    found = without_data(tree)
    assert found.kind_of("max_depth") is not str
    assert {"lr", "batch_size", "epochs", "random_state"}.isdisjoint(found.hyperparameters)


def evaluated(folder: Path, model: Any, x: NDArray[Any], y: NDArray[Any], **said: Any) -> MemoryRun:
    tracker = MemoryTracker()
    config = EvaluateConfig(
        sampling=Sampling(data=config_of(folder, x, y, **said), samples=0),
        model=definitions_of(model)[0],
        rounds=2,
        preset="default",
        compute=Compute(workers=1, device="cpu"),
    )
    return run_of(tracker, evaluate.run(config, tracker, Silent()))


def test_a_network_is_measured_by_the_metric_that_was_chosen_and_kept_as_a_model(tmp_path: Path) -> None:
    brighter_N = np.where(IMAGES.mean((1, 2, 3)) > np.median(IMAGES.mean((1, 2, 3))), "bright", "dark")
    run = evaluated(tmp_path, Given, IMAGES, brighter_N, metric="log_loss")
    assert (run.tags["metric"], run.tags["unit"]) == ("log_loss", "nats")
    assert {"final_test_log_loss", "final_test_error"} <= {name for name, _ in run.metrics}
    rows = run.texts["test_losses.csv"].splitlines()
    assert len(rows) == 3
    for number, row in enumerate(rows[1:]):
        mean = np.mean([float(loss) for loss in row.split(",")[1:]])
        assert mean == pytest.approx(run.metrics["round/test_log_loss", number], abs=1e-7)
    [model] = run.models
    assert model.network(torch.zeros(4, 1, 6, 6)).shape == (4, 2)


def test_estimators_compare_pairs_and_tell_values(tmp_path: Path) -> None:
    ordered = np.repeat(np.arange(3), 20)
    images = (80 * ordered[:, None, None, None] + DRAWS.integers(9, size=(60, 1, 2, 2))).astype(np.uint8)
    pairs = evaluated(tmp_path, DecisionTreeClassifier, images, ordered, task="pairs")
    assert pairs.params["task"] == "pairs"
    assert pairs.metrics["final_test_error", 0] < 0.2  # by chance a third or more is wrong
    assert "test_losses.csv" not in pairs.texts
    values = evaluated(tmp_path, make_pipeline(StandardScaler(), LinearRegression()), VECTORS, 1e3 * VECTORS[:, 0])
    assert values.params["task"] == "regression"
    assert values.metrics["final_test_rmse", 0] == pytest.approx(0, abs=0.01)
    assert values.models == pairs.models == []

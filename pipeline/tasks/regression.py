"""Regression: what value has a sample? With scikit-learn's diabetes data, the progress of a disease after one year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.data.halves import halves
from pipeline.data.source import Source
from pipeline.data.splitting import split
from pipeline.models.metrics import (
    Metric,
    Unit,
    absolute_error_RN,
    mean_absolute_error_R,
    r2_R,
    root_mean_squared_error_R,
    squared_error_RN,
)
from pipeline.models.objectives import SquaredError
from pipeline.models.perceptrons import perceptrons
from pipeline.models.variant import Variant
from pipeline.reports.tables import Table
from pipeline.tasks.api import Kept, Task, Terms, Views
from pipeline.training.plan import Outcome, Replica

METRICS = (
    Metric("rmse", root_mean_squared_error_R, Unit(""), loss_RN=squared_error_RN, root=True),
    Metric("mae", mean_absolute_error_R, Unit(""), loss_RN=absolute_error_RN),
    Metric("r2", r2_R, Unit("", form=".3f"), "maximize"),
)
TITLE = "says the value of a sample"


def diabetes(_config: DataConfig) -> Splits:
    """442 patients, ten features each; the progress is a number from 25 to 346."""
    from sklearn.datasets import load_diabetes  # a second to import

    x_ND, target_N = load_diabetes(return_X_y=True)
    source = "scikit-learn's diabetes data (442 patients), split once into two halves"
    return halves("diabetes", source, x_ND.astype(np.float32), target_N.astype(np.float32))


def quantiles(splits: Splits) -> Table:
    """How the values of both parts are distributed."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    values = {"train": splits.train.labels.astype(np.float64), "test": splits.test.labels.astype(np.float64)}
    rows = [
        [name, len(each), f"{each.mean():.4g}", *(f"{value:.4g}" for value in np.quantile(each, shares))]
        for name, each in values.items()
    ]
    return Table(["part", "samples", "mean", "least", "first quarter", "median", "third quarter", "greatest"], rows)


def errors(_variant: Variant, splits: Splits, replicas: Sequence[Replica], outcomes: Sequence[Outcome]) -> list[Kept]:
    """Predicted against true values of all rounds."""
    from matplotlib.figure import Figure  # half a second to import, with what draws

    from pipeline.reports.figures.style import STYLES

    figure = Figure(figsize=(5, 5), layout="constrained")
    axis = figure.subplots()
    true_N = np.concatenate([splits.test.targets(replica.held_out) for replica in replicas])
    predicted_N = np.concatenate([outcome.predictions["value"] for outcome in outcomes])
    axis.plot(true_N, predicted_N, "o", color=STYLES[0][0], markersize=3, alpha=0.4)
    ends = [min(true_N.min(), predicted_N.min()), max(true_N.max(), predicted_N.max())]
    axis.plot(ends, ends, "--", color="black", linewidth=1, label="as it should be")
    axis.set(xlabel="true value", ylabel="predicted value")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    return [Kept(name="predictions", content=figure)]


def terms(_splits: Splits) -> Terms:
    """One number."""
    return Terms(title=TITLE, learned="regression", objective=SquaredError(), outputs=1, metrics=METRICS)


TASK = Task(
    name="regression",
    datasets={"diabetes": Source(load=diabetes)},
    variants=perceptrons(
        "regressor",
        inputs=10,
        outputs=1,
        objective=SquaredError(),
        metrics=METRICS,
        task="regression",
        title=TITLE,
    ),
    metrics=METRICS,
    views=lambda: Views(composition=quantiles, errors=errors),
    example="mlp_regressor",
    split=lambda data, test_size: split(data, classes=False, test_size=test_size),
    terms=terms,
)

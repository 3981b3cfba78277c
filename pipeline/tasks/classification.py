"""Classification: which of several classes is a sample of? With scikit-learn's handwritten digits, 8x8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.data.halves import halves
from pipeline.data.source import Source
from pipeline.data.splitting import split
from pipeline.models.metrics import BALANCED_ERROR, ERROR, LOG_LOSS
from pipeline.models.objectives import CrossEntropy
from pipeline.models.perceptrons import perceptrons
from pipeline.models.variant import Variant
from pipeline.reports.tables import Table, class_table
from pipeline.tasks.api import Kept, Task, Terms, Views
from pipeline.training.plan import Outcome, Replica

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = (ERROR, BALANCED_ERROR, LOG_LOSS)
TITLE = "names the class of a sample"


def handwritten_digits(_config: DataConfig) -> Splits:
    """1,797 images of 8x8 grey values, 0 to 16, as vectors."""
    from sklearn.datasets import load_digits  # a second to import

    x_ND, target_N = load_digits(return_X_y=True)
    source = "scikit-learn's digits (1,797 images of 8x8), split once into two halves"
    return halves("sklearn_digits", source, x_ND.astype(np.float32), target_N.astype(np.int64), by_class=True)


def classes_of(splits: Splits) -> list[str]:
    """Their names: where the data do not say, the numbers from 0 on."""
    return list(splits.classes) or [str(number) for number in range(int(splits.train.labels.max()) + 1)]


def errors(_variant: Variant, splits: Splits, replicas: Sequence[Replica], outcomes: Sequence[Outcome]) -> list[Kept]:
    """How often each class was taken for which, over all rounds."""
    count_KK = np.zeros((len(classes_of(splits)),) * 2, dtype=np.int64)
    for replica, outcome in zip(replicas, outcomes, strict=True):
        true_N = splits.test.targets(replica.held_out).astype(np.int64)
        np.add.at(count_KK, (true_N, outcome.predictions["answer"]), 1)
    rows = [[true, *row.tolist()] for true, row in enumerate(count_KK)]
    return [
        Kept(name="confusion", content=confusion(count_KK, classes_of(splits))),
        Kept(name="confusion", content=Table(["class", *classes_of(splits)], rows)),
    ]


def confusion(count_KK: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """The share of each class (rows) that was taken for each (columns)."""
    from matplotlib.figure import Figure  # half a second to import, with what draws

    from pipeline.reports.figures.style import GREYS, numbers

    figure = Figure(figsize=(1.6 + 0.5 * len(classes),) * 2, layout="constrained")
    axis = figure.subplots()
    seen_K1 = count_KK.sum(axis=1, keepdims=True)
    percent_KK = np.divide(100 * count_KK, seen_K1, out=np.full(count_KK.shape, np.nan), where=seen_K1 > 0)
    axis.imshow(percent_KK, cmap=GREYS, vmin=0, vmax=100)
    numbers(axis, percent_KK, 50, decimals=0)
    ticks = range(len(classes))
    axis.set(xticks=ticks, yticks=ticks, xlabel="predicted", ylabel="true", title="share of each class (%)")
    axis.set_xticklabels(classes)
    axis.set_yticklabels(classes)
    return figure


def terms(splits: Splits) -> Terms:
    """A score for each class."""
    classes = len(classes_of(splits))
    return Terms(
        title=TITLE,
        learned="classification",
        objective=CrossEntropy(probabilities=True),
        outputs=classes,
        classes=classes,
        metrics=METRICS,
    )


TASK = Task(
    name="classification",
    datasets={"sklearn_digits": Source(load=handwritten_digits)},
    variants=perceptrons(
        "classifier",
        inputs=64,
        outputs=10,
        objective=CrossEntropy(probabilities=True),
        metrics=METRICS,
        task="classification",
        title=TITLE,
    ),
    metrics=METRICS,
    views=lambda: Views(composition=lambda splits: class_table(splits, classes_of(splits)), errors=errors),
    example="mlp_classifier",
    split=lambda data, test_size: split(data, classes=True, test_size=test_size),
    terms=terms,
)

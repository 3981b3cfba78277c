"""What samples look like, and on which of them a model errs: pictures and tables for the pools of each task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data.digits import CLASSES
from pipeline.data.points import CENTRE, RADIUS
from pipeline.data.pools import Pools, Samples
from pipeline.models.variant import Variant
from pipeline.reports.figures import digit_confusion, point_errors, sample_pairs, sample_points
from pipeline.reports.tables import Table
from pipeline.tracking.port import Run
from pipeline.training.plan import Outcome, Replica


def sample_picture(samples: Samples) -> Figure:
    """Some pairs, or all points."""
    if samples.digits_NC.size:
        return sample_pairs(samples)
    return sample_points(samples.x.astype(np.float64), samples.target_N.astype(bool), CENTRE, RADIUS)


def class_table(pools: Pools) -> Table:
    """How many parts of each class are in the pools."""
    labels = {name: pool.arrays[1].astype(np.int64) for name, pool in (("train", pools.train), ("test", pools.test))}
    classes = [str(digit) for digit in range(CLASSES)] if pools.train.sample == "pair" else ["outside", "inside"]
    counts = {name: np.bincount(values, minlength=len(classes)) for name, values in labels.items()}
    return Table(["pool", *classes, "all"], [[name, *row.tolist(), int(row.sum())] for name, row in counts.items()])


def log_errors(
    run: Run, variant: Variant, pools: Pools, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> None:
    """Keep where the answers on test samples were wrong, over all rounds."""
    if variant.task == "points":
        points, wrong = _point_errors(pools, replicas, outcomes)
        run.figure("wrong_points.png", point_errors(points, wrong, CENTRE, RADIUS))
        return
    wrong_KK, seen_KK = count_digit_pairs(pools, replicas, outcomes)
    run.figure("confusion_by_digit_pair.png", digit_confusion(wrong_KK, seen_KK))
    table = Table(
        ["first digit", "second digit", "pairs", "wrong"],
        [
            [first, second, int(seen_KK[first, second]), int(wrong_KK[first, second])]
            for first, second in np.ndindex(seen_KK.shape)
        ],
    )
    run.text("confusion_by_digit_pair.csv", table.csv())


def count_digit_pairs(
    pools: Pools, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(10, 10) counts of wrong answers and of all test pairs by (first digit, second digit), over all rounds."""
    wrong = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    seen = np.zeros_like(wrong)
    for replica, outcome in zip(replicas, outcomes, strict=True):
        samples = pools.test.gather(replica.held_out)
        where = (samples.digits_NC[:, 0], samples.digits_NC[:, 1])
        np.add.at(seen, where, 1)
        np.add.at(wrong, where, outcome.answers_M != samples.target_N)
    return wrong, seen


def _point_errors(
    pools: Pools, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    samples = [pools.test.gather(replica.held_out) for replica in replicas]
    wrong = [outcome.answers_M != part.target_N for outcome, part in zip(outcomes, samples, strict=True)]
    return np.concatenate([part.x for part in samples]).astype(np.float64), np.concatenate(wrong)

"""What every test sample adds to the error of a round, where all rounds test on the same ones.

Axes: R round, N test sample, G group of test samples. With these a verdict covers which samples were held out; rounds
alone say nothing of that.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.dataset import Splits
from pipeline.models.metrics import Metric
from pipeline.reports.crossed import contributions, reading
from pipeline.stages.stage import ALL
from pipeline.training.plan import Outcome, Replica

FILE = "test_losses.csv"
"""In which an evaluation keeps them, of the metric that it is ranked by."""


def draws_of(splits: Splits, replicas: Sequence[Replica]) -> dict[str, str]:
    """Whether rounds have `all` samples of each part, or a `fresh` draw of them, as it is kept with a run.

    Samples of several items each are all where they use up the items, which the next round puts together anew.
    """
    uses = {"train_draw": (splits.train, "train"), "test_draw": (splits.test, "held_out")}
    return {
        name: ALL if all(len(getattr(replica, of)) == data.samples for replica in replicas) else "fresh"
        for name, (data, of) in uses.items()
    }


def reading_of(draws: Mapping[str, str], rounds: int, *, losses: bool) -> str:
    """What intervals cover, from what `draws_of` says, and the `resampling` if there is any; `losses`: whether those of
    test samples were analysed. Early evaluations say nothing, and drew their samples afresh."""
    return reading(
        shared_test=draws.get("test_draw") == ALL,
        all_train=draws.get("train_draw") == ALL,
        resampling=draws.get("resampling", "none"),
        rounds=rounds,
        losses=losses,
    )


def losses_of(
    metric: Metric, splits: Splits, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> NDArray[np.float64] | None:
    """(R, N) what the test samples, in their order in the data set, add to a metric; its value is the mean of a row.

    Where samples belong to groups, (R, G) what groups add. None where rounds have samples of their own, or samples do
    not add up to the metric.
    """
    is_shared = splits.test.items_per_sample == 1 and draws_of(splits, replicas)["test_draw"] == ALL
    if metric.loss_RN is None or not is_shared:
        return None
    rows = []
    for replica, outcome in zip(replicas, outcomes, strict=True):
        order_N = np.argsort(replica.held_out[:, 0])
        said = {name: torch.from_numpy(each[order_N]).unsqueeze(0) for name, each in outcome.predictions.items()}
        target_1N = torch.from_numpy(splits.test.targets(replica.held_out[order_N])).unsqueeze(0)
        rows.append(metric.loss_RN(said, {"target": target_1N}).numpy())
    losses_RN = np.concatenate(rows)
    if not np.isfinite(losses_RN).all():
        return None
    group_N = splits.test.groups(np.arange(len(splits.test), dtype=np.int32)[:, None])
    return by_group(contributions(losses_RN, root=metric.root), group_N)


def by_group(value_RN: NDArray[np.float64], group_N: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """(R, N) -> (R, G) what groups add, if there are any: samples of a group are alike, and so are no draws of their
    own. The mean of a row stays what it is."""
    if group_N is None:
        return value_RN
    groups, place_N = np.unique(group_N, return_inverse=True)
    sum_RG = np.zeros((len(value_RN), len(groups)))
    np.add.at(sum_RG.T, place_N, value_RN.T)
    return sum_RG * (len(groups) / len(group_N))


def to_csv(losses_RN: NDArray[np.float64]) -> str:
    """A line for each round, a column for each test sample, or group of them, by its number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["round", *range(losses_RN.shape[1])])
    writer.writerows([number, *(f"{loss:.9g}" for loss in row)] for number, row in enumerate(losses_RN.tolist()))
    return text.getvalue()


def from_csv(text: str) -> NDArray[np.float64]:
    """(R, N) of what `to_csv` wrote."""
    return np.array([row[1:] for row in list(csv.reader(text.splitlines()))[1:]], dtype=np.float64)

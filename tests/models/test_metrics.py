"""Metrics are shown with their units; that their values are right is tested with the tasks that have them."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics as sklearn

from pipeline.models.metrics import ERROR, LOG_LOSS, SHARE, Metric, Unit, share_of_wrong_R
from pipeline.reports.crossed import contributions
from pipeline.tasks.registry import tasks
from tests.models.networks import generator, noise


def test_a_metric_is_called_by_its_name_in_words() -> None:
    assert Metric("digit_error", share_of_wrong_R).title == "digit error"
    assert (ERROR.name, ERROR.unit, ERROR.direction) == ("error", SHARE, "minimize")


def test_values_are_shown_with_their_unit_and_differences_with_their_sign() -> None:
    assert (SHARE.show(0.0989), SHARE.number(0.0989), SHARE.difference(-0.0125)) == ("9.89 %", "9.89", "-1.25")
    assert Unit("mm").show(3.14159) == "3.142 mm"
    assert Unit("").show(2.0) == "2"
    assert [SHARE.show(math.nan), SHARE.number(math.inf)] == ["-", "-"]
    assert [unit.suffix for unit in (SHARE, Unit("mm"), Unit(""))] == [" points", " mm", ""]


def test_log_loss_is_that_of_scikit_learn_and_nothing_where_there_are_no_probabilities() -> None:
    said_RNK = noise(2, 30, 4).log_softmax(-1)
    target_RN = torch.randint(4, (2, 30), generator=generator(1))
    found_R = LOG_LOSS.value_R({"log_probabilities": said_RNK.float()}, {"target": target_RN})
    for found, true_N, said_NK in zip(found_R.tolist(), target_RN, said_RNK.exp(), strict=True):
        assert found == pytest.approx(sklearn.log_loss(true_N, said_NK, labels=range(4)), rel=1e-6)
    assert LOG_LOSS.value_R({"answer": target_RN}, {"target": target_RN}).isnan().tolist() == [True, True]
    assert LOG_LOSS.unit.show(0.69315) == "0.693 nats"


ADDED_UP = {
    f"{task.name} {metric.name}": metric
    for task in tasks().values()
    for metric in task.metrics
    if metric.loss_RN is not None
}


@pytest.mark.parametrize("metric", ADDED_UP.values(), ids=ADDED_UP.keys())
@pytest.mark.parametrize("seed", range(5))
def test_the_value_is_the_mean_of_what_samples_add_or_its_root(metric: Metric, seed: int) -> None:
    draws = generator(seed)
    target_RN = torch.randint(1 + seed, (3, 40), generator=draws)  # of one class alone, too; and some have few samples
    target_RN[:, :2] = 5
    said_RNK = torch.randn(3, 40, 7, generator=draws, dtype=torch.float64)
    predictions = {
        "answer": said_RNK.argmax(-1),
        "log_probabilities": said_RNK.log_softmax(-1),
        "value": 10 * said_RNK[..., 0],
    }
    batch = {"target": target_RN}
    assert metric.loss_RN is not None
    loss_RN, value_R = metric.loss_RN(predictions, batch), metric.value_R(predictions, batch)
    assert loss_RN.shape == target_RN.shape
    assert (loss_RN >= 0).all()
    mean_R = loss_RN.mean(1)
    torch.testing.assert_close(mean_R.sqrt() if metric.root else mean_R, value_R, rtol=1e-12, atol=1e-12)
    added_R = contributions(loss_RN.numpy(), root=metric.root).mean(1)
    torch.testing.assert_close(torch.from_numpy(added_R), value_R, rtol=1e-12, atol=1e-12)


def test_all_that_is_searched_by_adds_up() -> None:
    assert {metric.name for metric in ADDED_UP.values()} >= {"error", "balanced_error", "log_loss", "rmse", "mae"}

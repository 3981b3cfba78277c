"""Losses are those of plain torch, one replica at a time, and predictions are in the unit of the targets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.objectives import CrossEntropy, Objective, SquaredError
from tests.models.networks import generator, noise

R, B, K = 3, 7, 4
CLASSES_RB = torch.randint(K, (R, B), generator=generator(1))
VALUES_RB = 10 + 2 * noise(R, B, seed=1)
CASES: dict[str, tuple[Objective, Tensor, Tensor]] = {
    "classes": (CrossEntropy(), noise(R, B, K), CLASSES_RB),
    "values": (SquaredError(), noise(R, B, 1), VALUES_RB),
    "scaled values": (SquaredError(centre=10.0, scale=2.0), noise(R, B, 1), VALUES_RB),
}
"""Objective, output and target."""
every_case = pytest.mark.parametrize(("objective", "output", "target"), CASES.values(), ids=CASES)


def plain_loss(objective: Objective, output: Tensor, target: Tensor) -> Tensor:
    """That of one replica by the losses of torch."""
    if isinstance(objective, SquaredError):
        return functional.mse_loss(output[:, 0], (target - objective.centre) / objective.scale)
    return functional.cross_entropy(output, target)


@every_case
def test_the_loss_is_that_of_torch_for_each_replica(objective: Objective, output: Tensor, target: Tensor) -> None:
    loss_R = objective.loss_R(output, {"target": target}, {})
    assert loss_R.shape == (R,)
    for index, loss in enumerate(loss_R):
        expected = plain_loss(objective, output[index], target[index])
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@every_case
def test_a_replica_has_the_gradient_that_it_has_alone(objective: Objective, output: Tensor, target: Tensor) -> None:
    together = output.clone().requires_grad_()
    objective.loss_R(together, {"target": target}, {}).sum().backward()
    assert together.grad is not None
    for index in range(R):
        alone = output[index].clone().requires_grad_()
        plain_loss(objective, alone, target[index]).backward()
        assert alone.grad is not None
        torch.testing.assert_close(together.grad[index], alone.grad, rtol=1e-12, atol=1e-12)


@every_case
def test_there_is_a_prediction_for_each_sample(objective: Objective, output: Tensor, target: Tensor) -> None:
    [prediction] = objective.predict(output).values()
    assert prediction.shape == target.shape
    assert objective.hyperparameters == frozenset()
    assert objective.description


def test_the_answer_is_the_likeliest_class() -> None:
    logits = noise(50, K)
    probabilities = CrossEntropy().serve(logits)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(50, dtype=torch.float64))
    assert torch.equal(CrossEntropy().predict(logits)["answer"], probabilities.argmax(-1))


def test_values_are_predicted_in_the_unit_of_the_targets() -> None:
    objective, output = SquaredError(centre=10.0, scale=2.0), torch.tensor([[-1.0], [0.0], [0.5]])
    assert objective.predict(output)["value"].tolist() == [8.0, 10.0, 11.0]
    assert objective.serve(output).tolist() == [[8.0], [10.0], [11.0]]


def test_targets_are_standardised_by_each_replicas_own_training_samples() -> None:
    train_RN = VALUES_RB * torch.tensor([[1.0], [-100.0], [0.0]])
    fitted = SquaredError().fit({"target": train_RN})
    assert fitted == SquaredError()  # an objective is told by what it is, not by what it was fitted to
    scaled_RN = fitted.standardised(train_RN)
    torch.testing.assert_close(scaled_RN.mean(1), torch.zeros(R, dtype=torch.float64))
    torch.testing.assert_close(scaled_RN.std(1), torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    output = noise(R, B, 1)
    value_RB = fitted.predict(output)["value"]
    torch.testing.assert_close(fitted.standardised(value_RB), output.squeeze(-1))
    assert fitted.predict(output.float())["value"].dtype == torch.float32
    kept = fitted.select(torch.tensor([2, 1]))
    torch.testing.assert_close(kept.predict(output[[2, 1]])["value"], value_RB[[2, 1]])
    for row in range(R):
        torch.testing.assert_close(fitted.row(row).serve(output[row]).squeeze(-1), value_RB[row])
    alone = SquaredError().fit({"target": torch.tensor([[7.0], [5.0]])})
    assert alone.predict(torch.zeros(2, 1, 1))["value"].tolist() == [[7.0], [5.0]]


def test_objectives_that_take_nothing_from_samples_stay_as_they_are() -> None:
    objective = CrossEntropy()
    assert objective.fit({"target": CLASSES_RB}) is objective.select(torch.tensor([0])) is objective.row(0) is objective


def test_probabilities_are_predicted_where_they_are_wanted() -> None:
    logits = noise(R, B, K)
    predictions = CrossEntropy(probabilities=True).predict(logits)
    torch.testing.assert_close(predictions["log_probabilities"].exp(), CrossEntropy().serve(logits))
    assert torch.equal(predictions["answer"], CrossEntropy().predict(logits)["answer"])

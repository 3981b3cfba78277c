"""Losses are those of plain torch, one replica at a time; answers and probabilities agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipeline.data.dataset import Batch
from pipeline.tasks.digit_pairs.objectives import (
    DigitOutput,
    Digits,
    OneLogit,
    PairObjective,
    PairOutput,
    TwoLogits,
    TwoSigmoids,
    share_of_misread_R,
)
from tests.models.networks import generator, noise, parts

R, B = 3, 7
ALPHA_R = torch.tensor([0.0, 0.7, 2.5], dtype=torch.float64)
TARGET_RB = torch.randint(2, (R, B), generator=generator(1))
DIGITS_RBC = torch.randint(10, (R, B, 2), generator=generator(2))
PAIR_OBJECTIVES: dict[str, type[PairObjective]] = {
    "two logits": TwoLogits,
    "two sigmoids": TwoSigmoids,
    "one logit": OneLogit,
}
OBJECTIVES: dict[str, type[PairObjective] | type[Digits]] = {**PAIR_OBJECTIVES, "digits": Digits}
every_pair_objective = pytest.mark.parametrize("name", PAIR_OBJECTIVES)
every_objective = pytest.mark.parametrize("name", OBJECTIVES)
alone_or_not = pytest.mark.parametrize("auxiliary", [False, True], ids=["alone", "with an auxiliary loss"])


def output_of(name: str, scale: float = 3.0) -> Any:
    """What R replicas say of B samples each."""
    scores, others = scale * noise(R, B, 2, 10), scale * noise(R, B, 2, 10, seed=3)
    if name == "digits":
        return DigitOutput(scores, others)
    return PairOutput(scale * noise(R, B, 1 if name == "one logit" else 2, seed=4), scores)


def batch_of(rows: slice = slice(None)) -> Batch:
    """What the samples of some replicas are."""
    return {"target": TARGET_RB[rows], "digits": DIGITS_RBC[rows]}


def hyper_of(auxiliary: bool, rows: slice = slice(None)) -> dict[str, Tensor]:
    """What the losses of some replicas read."""
    return {"alpha": ALPHA_R[rows]} if auxiliary else {}


def row(output: Any, index: int) -> Any:
    """What one replica says, as the only one."""
    return type(output)(*(None if part is None else part[index : index + 1] for part in output))


def digit_loss(scores_BCK: Tensor, digits_BC: Tensor) -> Tensor:
    """The mean over both digits of all pairs."""
    return functional.cross_entropy(scores_BCK.flatten(0, 1), digits_BC.flatten())


def plain_loss(name: str, output: Any, target_B: Tensor, digits_BC: Tensor, alpha: Tensor | None) -> Tensor:
    """That of one replica by the losses of torch."""
    if name == "digits":
        auxiliary = 0 if alpha is None else alpha * digit_loss(output.auxiliary, digits_BC)
        return digit_loss(output.digits, digits_BC) + auxiliary
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "two logits": lambda scores: functional.cross_entropy(scores, target_B),
        "two sigmoids": lambda scores: functional.binary_cross_entropy(
            scores.sigmoid(), functional.one_hot(target_B, 2).double()
        ),
        "one logit": lambda scores: functional.binary_cross_entropy_with_logits(scores[:, 0], target_B.double()),
    }
    loss = losses[name](output.comparison)
    if alpha is not None:
        for digit in range(2):
            loss = loss + alpha * functional.cross_entropy(output.digits[:, digit], digits_BC[:, digit])
    return loss


@every_objective
@alone_or_not
def test_the_loss_is_that_of_torch_for_each_replica(name: str, auxiliary: bool) -> None:
    output = output_of(name)
    loss_R = OBJECTIVES[name](auxiliary).loss_R(output, batch_of(), hyper_of(auxiliary))
    assert loss_R.shape == (R,)
    for index, loss in enumerate(loss_R):
        of_one = type(output)(*(part[index] for part in output))
        alpha = ALPHA_R[index] if auxiliary else None
        expected = plain_loss(name, of_one, TARGET_RB[index], DIGITS_RBC[index], alpha)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@every_objective
def test_a_replica_has_the_loss_and_the_gradient_that_it_has_alone(name: str) -> None:
    def differentiated(output: Any, rows: slice) -> tuple[Tensor, list[Tensor]]:
        leaves = [part.clone().requires_grad_() for part in parts(output)]
        loss_R = OBJECTIVES[name](True).loss_R(type(output)(*leaves), batch_of(rows), hyper_of(True, rows))
        loss_R.sum().backward()
        return loss_R.detach(), [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]

    together, gradients = differentiated(output_of(name), slice(None))
    for index in range(R):
        alone, own = differentiated(row(output_of(name), index), slice(index, index + 1))
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-12, atol=1e-12)
        for gradient, expected in zip(gradients, own, strict=True):
            torch.testing.assert_close(gradient[index : index + 1], expected, rtol=1e-12, atol=1e-12)


@every_pair_objective
def test_digits_that_are_not_trained_do_not_matter(name: str) -> None:
    objective, output = PAIR_OBJECTIVES[name](), output_of(name)
    without = output._replace(digits=None)
    assert torch.equal(objective.loss_R(output, batch_of(), {}), objective.loss_R(without, batch_of(), {}))
    assert objective.predict(output).keys() == objective.predict(without).keys() == {"answer"}


@every_objective
def test_digits_that_are_trained_are_read_as_the_likeliest(name: str) -> None:
    output = output_of(name)
    digits_RBC = OBJECTIVES[name](True).predict(output)["digits"]
    assert torch.equal(digits_RBC, output.digits.argmax(-1))


@every_objective
@alone_or_not
def test_the_loss_reads_alpha_where_there_is_an_auxiliary_loss(name: str, auxiliary: bool) -> None:
    assert OBJECTIVES[name](auxiliary).hyperparameters == ({"alpha"} if auxiliary else set())


def test_a_digit_model_without_an_auxiliary_classifier_has_its_main_loss_alone() -> None:
    output = output_of("digits")._replace(auxiliary=None)
    for auxiliary in (False, True):
        loss_R = Digits(auxiliary).loss_R(output, batch_of(), hyper_of(auxiliary))
        for index, loss in enumerate(loss_R):
            torch.testing.assert_close(loss, digit_loss(output.digits[index], DIGITS_RBC[index]))


@every_objective
@alone_or_not
def test_there_is_an_answer_for_each_sample_of_each_replica(name: str, auxiliary: bool) -> None:
    objective, output = OBJECTIVES[name](auxiliary), output_of(name)
    answers_RB = objective.predict(output)["answer"]
    assert (answers_RB.shape, answers_RB.dtype) == ((R, B), torch.bool)
    for index in range(R):
        alone = objective.predict(row(output, index))["answer"]
        assert torch.equal(answers_RB[index], alone[0])


SIXTEENTHS = st.integers(-300, 300).map(lambda number: number / 16)


@every_pair_objective
@given(scores=st.lists(st.tuples(SIXTEENTHS, SIXTEENTHS), min_size=1, max_size=20))
def test_probabilities_sum_to_one_and_the_answer_is_the_likelier(name: str, scores: list[tuple[float, float]]) -> None:
    objective = PAIR_OBJECTIVES[name]()
    comparison = torch.tensor(scores, dtype=torch.float64)[:, : 1 if name == "one logit" else 2]
    output = PairOutput(comparison, None)
    probabilities = objective.serve(output)
    assert probabilities.shape == (len(scores), 2)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(len(scores), dtype=torch.float64))
    assert torch.equal(probabilities.argmax(-1).bool(), objective.predict(output)["answer"])


@every_pair_objective
@pytest.mark.parametrize("scores", [(-200.0, -150.0), (150.0, 200.0), (-300.0, 300.0)], ids=str)
def test_probabilities_are_numbers_however_sure_a_network_is(name: str, scores: tuple[float, float]) -> None:
    output = PairOutput(torch.tensor([scores])[:, : 1 if name == "one logit" else 2], None)
    probabilities = PAIR_OBJECTIVES[name]().serve(output)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(1))


def test_two_sigmoids_are_divided_by_their_sum() -> None:
    comparison = noise(20, 2)
    sigmoids = 1 / (1 + (-comparison).exp())
    probabilities = TwoSigmoids().serve(PairOutput(comparison, None))
    torch.testing.assert_close(probabilities, sigmoids / (sigmoids[:, :1] + sigmoids[:, 1:]))


def test_digits_are_read_one_by_one_and_compared() -> None:
    output = DigitOutput(noise(200, 2, 10), None)
    probabilities = Digits().serve(output)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(200, 2, dtype=torch.float64))
    answers = Digits().predict(output)["answer"].tolist()
    for (first, second), answer in zip(probabilities.tolist(), answers, strict=True):
        assert answer == (first.index(max(first)) <= second.index(max(second)))
    assert set(answers) == {True, False}


def test_the_digit_error_is_the_share_of_all_digits_that_are_misread() -> None:
    read = DIGITS_RBC.clone()
    read[1, :2] += 1
    read[2, 0, 1] += 1
    shares = share_of_misread_R({"digits": read}, {"digits": DIGITS_RBC})
    assert shares.tolist() == [0, 4 / (2 * B), 1 / (2 * B)]

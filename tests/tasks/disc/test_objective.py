"""The loss is the mean squared error of torch and of the mini framework; the sign is the answer."""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.tasks.disc import mini
from pipeline.tasks.disc.objective import Square, signs
from tests.models.networks import generator, noise

R, B = 3, 7
TARGET_RB = torch.randint(2, (R, B), generator=generator(1))
OUTPUT_RBK = noise(R, B, 1).tanh()


def test_the_loss_is_that_of_torch_for_each_replica() -> None:
    loss_R = Square().loss_R(OUTPUT_RBK, {"target": TARGET_RB}, {})
    assert loss_R.shape == (R,)
    for index, loss in enumerate(loss_R):
        wanted = torch.where(TARGET_RB[index] == 1, 1.0, -1.0).double()
        expected = functional.mse_loss(OUTPUT_RBK[index, :, 0], wanted)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_a_replica_has_the_loss_and_the_gradient_that_it_has_alone() -> None:
    together = OUTPUT_RBK.clone().requires_grad_()
    loss_R = Square().loss_R(together, {"target": TARGET_RB}, {})
    loss_R.sum().backward()
    assert together.grad is not None
    for index in range(R):
        row = slice(index, index + 1)
        alone = OUTPUT_RBK[row].clone().requires_grad_()
        loss = Square().loss_R(alone, {"target": TARGET_RB[row]}, {})
        loss.sum().backward()
        assert alone.grad is not None
        torch.testing.assert_close(loss_R[row], loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.grad[row], alone.grad, rtol=1e-12, atol=1e-12)


def test_the_square_is_the_mean_squared_error_of_the_mini_framework() -> None:
    expected = mini.MSE().forward(OUTPUT_RBK, signs(TARGET_RB, OUTPUT_RBK.dtype).unsqueeze(-1))
    torch.testing.assert_close(Square().loss_R(OUTPUT_RBK, {"target": TARGET_RB}, {}), expected)


def test_there_is_an_answer_for_each_sample_of_each_replica() -> None:
    answers_RB = Square().predict(OUTPUT_RBK)["answer"]
    assert (answers_RB.shape, answers_RB.dtype) == ((R, B), torch.bool)
    for index in range(R):
        assert torch.equal(answers_RB[index], Square().predict(OUTPUT_RBK[index])["answer"])


def test_a_point_is_inside_if_the_output_is_positive() -> None:
    output = torch.tensor([[-1.0], [-0.1], [0.0], [0.1], [1.0]])
    assert Square().predict(output)["answer"].tolist() == [False, False, False, True, True]
    assert torch.equal(Square().serve(output), output)


def test_targets_become_one_and_minus_one() -> None:
    assert signs(torch.tensor([1, 0]), torch.float64).tolist() == [1.0, -1.0]

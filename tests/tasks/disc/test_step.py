"""A network that the mini framework has trained is one of torch afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.models.exported import trained_network
from pipeline.models.variant import Variant
from pipeline.tasks.disc.step import MiniStep
from pipeline.tasks.registry import get_variant
from tests.models.networks import generator, noise

STRUCTURES = [(("nodes", 25), ("layers", 3)), (("nodes", 4), ("layers", 1))]
REPLICAS = 3


def make_step(variant: Variant, structure: tuple[tuple[str, int], ...]) -> MiniStep:
    """As a chunk makes it."""
    hyper = variant.preset.replaced({**dict(structure), "lr": 0.1})
    return MiniStep(
        structure,
        [hyper] * REPLICAS,
        [generator(seed) for seed in range(REPLICAS)],
        objective=variant.objective,
        dtype=torch.float32,
        device="cpu",
    )


def train(step: MiniStep, x_RBD: Tensor, *, steps: int) -> list[Tensor]:
    """Learn whether the first coordinate is positive; the loss (R,) before each step."""
    step.begin_epoch(0)
    batch = {"x": x_RBD, "target": (x_RBD[..., 0] > 0).long()}
    return [step(batch)[0] for _ in range(steps)]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_a_trained_mini_network_gives_as_a_torch_module_what_it_gives_itself(
    structure: tuple[tuple[str, int], ...],
) -> None:
    variant = get_variant("disc_mlp")
    step, x_RBD = make_step(variant, structure), noise(REPLICAS, 40, 2).float()
    losses = train(step, x_RBD, steps=30)
    assert (losses[-1] < losses[0]).all()
    _, output_RBK = step.evaluate({"x": x_RBD, "target": torch.zeros(REPLICAS, 40)})
    for row in range(REPLICAS):
        module = trained_network(variant, structure, step.state(row))
        torch.testing.assert_close(module(x_RBD[row]), output_RBK[row], rtol=1e-5, atol=1e-6)

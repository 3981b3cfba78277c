"""A trained model says elsewhere what it said here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline import mini
from pipeline.models import checked_pt2
from pipeline.models.exported import DESCRIPTIONS, Exported, trained_network
from pipeline.models.objectives import Square
from pipeline.models.registry import get_variant, variants
from pipeline.models.variant import Variant
from tests.models.networks import every, generator, noise, ordinary, parts, samples

STRUCTURES = [(("nodes", 25), ("layers", 3)), (("nodes", 4), ("layers", 1))]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_a_trained_mini_network_gives_as_a_torch_module_what_it_gives_itself(
    structure: tuple[tuple[str, int], ...],
) -> None:
    variant = get_variant("disc_mlp")
    network, replicas = variant.build(structure), 3
    network.initialise([generator(seed) for seed in range(replicas)])
    x_RBD = noise(replicas, 40, 2).float()
    losses = train(network, x_RBD, steps=30)
    assert (losses[-1] < losses[0]).all()
    output_RBK = network.forward(x_RBD)
    for row in range(replicas):
        module = trained_network(variant, structure, network.state(row))
        torch.testing.assert_close(module(x_RBD[row]), output_RBK[row], rtol=1e-5, atol=1e-6)


def train(network: mini.Sequential, x_RBD: Tensor, *, steps: int) -> list[Tensor]:
    """Learn whether the first coordinate is positive; the loss (R,) before each step."""
    loss, optimiser = mini.MSE(), mini.SGD(network, [0.1] * len(x_RBD))
    losses = []
    for _ in range(steps):
        losses.append(loss.forward(network.forward(x_RBD), x_RBD[..., :1].sign()))
        network.zero_gradients()
        network.backward(loss.backward())
        optimiser.step()
    return losses


@every("pairs", "digits")
def test_a_trained_network_gives_what_it_gave(variant: Variant) -> None:
    network = ordinary(variant)
    network(samples(variant, 4))  # so that running statistics are not those of the beginning
    network.float()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    module = trained_network(variant, variant.preset.structure, weights).eval()
    x = samples(variant, 3).float()
    for found, expected in zip(parts(module(x)), parts(network.eval()(x)), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mlp_ws", "lenet_digits", "disc_mlp"])
def test_weights_of_another_structure_are_refused(name: str) -> None:
    variant = get_variant(name)
    with pytest.raises(RuntimeError, match="Missing key"):
        trained_network(variant, variant.preset.structure, {})


@every("pairs", "digits")
def test_an_exported_model_takes_grey_values_and_gives_probabilities(variant: Variant) -> None:
    network = ordinary(variant).float()
    exported = Exported(network, variant.objective, mean=33.0, std=78.0).eval()
    grey = torch.randint(256, (5, 2, 14, 14), generator=generator()).float()
    output = network((grey - 33.0) / 78.0)
    probabilities = exported(grey)
    assert probabilities.shape == ((5, 2, 10) if variant.task == "digits" else (5, 2))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))
    torch.testing.assert_close(probabilities, variant.objective.probabilities(output))


def test_an_exported_model_of_points_is_above_zero_inside() -> None:
    exported = Exported(nn.Tanh(), Square(), mean=0.5, std=0.25)
    coordinates = torch.tensor([[0.75], [0.25], [0.5]])
    assert torch.equal(exported(coordinates), torch.tensor([[1.0], [-1.0], [0.0]]).tanh())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hyperbolic tangent as a file."""
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    checked_pt2.save(nn.Tanh().eval(), torch.zeros(3, 2), path)
    return path


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_saved_network_takes_any_number_of_samples(saved: Path, count: int) -> None:
    x = noise(count, 2).float().numpy()
    found = checked_pt2.load(saved).predict(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.tanh(x), atol=1e-6)


def test_a_saved_network_takes_arrays_that_torch_does_not(saved: Path) -> None:
    x = noise(4, 2).numpy()[::-1]
    x.setflags(write=False)
    np.testing.assert_allclose(checked_pt2.load(saved).predict(x), np.tanh(x), atol=1e-6)
    np.testing.assert_allclose(checked_pt2.load(saved).predict(x.tolist()), np.tanh(x), atol=1e-6)


def test_the_sha256_of_a_saved_network_is_kept_as_sha256sum_writes_it(saved: Path) -> None:
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert checked_pt2.digest_path(saved).read_bytes() == f"{digest}  model.pt2\n".encode()


def test_a_network_that_is_not_what_was_saved_is_refused_with_both_sums_and_a_way_out(
    saved: Path, tmp_path: Path
) -> None:
    path = tmp_path / saved.name
    path.write_bytes(saved.read_bytes() + b"\0")
    kept = checked_pt2.digest_path(saved).read_text()
    checked_pt2.digest_path(path).write_text(kept)
    with pytest.raises(ValueError, match="must have the SHA-256 that was kept beside it") as caught:
        checked_pt2.load(path)
    assert kept.strip() in str(caught.value)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(caught.value)
    assert str(caught.value).endswith("copy or download the model again, or log it anew")
    assert "\n" not in str(caught.value)


def test_a_network_without_its_sha256_is_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / saved.name
    path.write_bytes(saved.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"model\.pt2\.sha256"):
        checked_pt2.load(path)


def test_what_a_model_gives_is_described_for_every_task() -> None:
    assert DESCRIPTIONS.keys() == {variant.task for variant in variants().values()}

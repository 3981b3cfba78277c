"""A trained model says elsewhere what it said here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.models import checked_pt2
from pipeline.models.exported import Exported, trained_network
from pipeline.models.variant import Variant
from pipeline.tasks.disc.objective import Square
from pipeline.tasks.registry import get_variant
from tests.models.networks import every, generator, noise, ordinary, parts, samples


@every()
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
    mean, std = torch.full((1, 1, 1), 33.0), torch.full((1, 1, 1), 78.0)
    exported = Exported(network, variant.objective, mean=mean, std=std).eval()
    grey = torch.randint(256, (5, 2, 14, 14), generator=generator()).float()
    output = network((grey - 33.0) / 78.0)
    probabilities = exported(grey)
    assert probabilities.shape == ((5, 2, 10) if variant.task == "digits" else (5, 2))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))
    torch.testing.assert_close(probabilities, variant.objective.serve(output))


def test_an_exported_model_of_points_is_above_zero_inside() -> None:
    exported = Exported(nn.Tanh(), Square(), mean=torch.tensor(0.5), std=torch.tensor(0.25))
    coordinates = torch.tensor([[0.75], [0.25], [0.5]])
    assert torch.equal(exported(coordinates), torch.tensor([[1.0], [-1.0], [0.0]]).tanh())


def test_an_exported_model_fills_missing_numbers_in() -> None:
    zeros = torch.zeros(2)
    exported = Exported(nn.Identity(), Square(), mean=zeros, std=torch.tensor([1.0, torch.inf]), fill=zeros + 3)
    assert exported(torch.tensor([[torch.nan, torch.nan], [2.0, 2.0]])).tolist() == [[3.0, 0.0], [2.0, 0.0]]


def test_an_exported_model_of_indices_takes_them_as_they_are(tmp_path: Path) -> None:
    exported = Exported(nn.Sequential(nn.Embedding(5, 2), nn.Flatten()), Square()).eval()
    indices = torch.tensor([[0, 4], [3, 3], [1, 2]])
    assert torch.equal(exported(indices), exported(indices.float()))
    checked_pt2.save(checked_pt2.export(exported, indices.float()), tmp_path / "model.pt2")
    found = checked_pt2.load(tmp_path / "model.pt2").predict(indices[:1].numpy())
    np.testing.assert_array_equal(found, exported(indices[:1]).detach())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hyperbolic tangent as a file."""
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    checked_pt2.save(checked_pt2.export(nn.Tanh().eval(), torch.zeros(3, 2)), path)
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

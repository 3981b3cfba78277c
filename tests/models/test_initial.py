from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.models.initial import build_network
from pipeline.models.variant import Variant
from pipeline.tasks.registry import get_variant
from tests.models.networks import every, layers_of

every_ordinary_variant = every("pairs", "digits")


def flat(network: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach()


@every_ordinary_variant
def test_equal_names_give_equal_weights_and_others_do_not(variant: Variant) -> None:
    weights = flat(build_network(variant, 0, "trial", 1))
    assert torch.equal(weights, flat(build_network(variant, 0, "trial", 1)))
    for other in (build_network(variant, 1, "trial", 1), build_network(variant, 0, "trial", 2)):
        assert not torch.isin(weights, flat(other)).all()


@every_ordinary_variant
def test_weights_are_distributed_like_torch_draws_them(variant: Variant) -> None:
    ours = build_network(variant, 0, "weights").named_parameters()
    for (name, parameter), (default_name, default) in zip(ours, variant.build().named_parameters(), strict=True):
        assert name == default_name
        assert parameter.dtype == torch.float32
        if parameter.numel() >= 1000:
            assert math.isclose(parameter.std().item(), default.std().item(), rel_tol=0.1)
            assert math.isclose(parameter.abs().max().item(), default.abs().max().item(), rel_tol=0.05)
            assert abs(parameter.mean().item()) < 0.1 * default.std().item()


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(25, 40), nn.Conv2d(1, 40, 5), nn.Linear(25, 40, bias=False), nn.Conv2d(1, 40, 5, bias=False)],
    ids=str,
)
def test_weights_and_biases_fill_plus_minus_one_over_root_fan_in(layer: nn.Module) -> None:
    network = build_network(replace(get_variant("mlp"), make=lambda **_: layer), 0, "weights")
    for parameter in network.parameters():
        assert 0.9 * 0.2 < parameter.abs().max().item() <= 0.2


def test_layers_without_a_known_distribution_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no initial distribution is known for LayerNorm; add it to build_network"):
        build_network(replace(get_variant("mlp"), make=lambda **_: nn.LayerNorm(3)), 0, "weights")


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_batch_normalisation_begins_as_torch_has_it_and_draws_nothing(
    kind: type[nn.BatchNorm1d | nn.BatchNorm2d], affine: bool
) -> None:
    def used(**_: object) -> nn.Module:
        layer = kind(3, affine=affine)
        for tensor in layer.state_dict().values():
            tensor.fill_(7)
        return nn.Sequential(nn.Linear(4, 3), layer, nn.Linear(3, 3))

    mlp = get_variant("mlp")
    network = build_network(replace(mlp, make=used), 0, "weights", dtype=torch.float64)
    assert isinstance(network, nn.Sequential)
    expected = kind(3, affine=affine).double().state_dict()
    found = network[1].state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    without = replace(mlp, make=lambda **_: nn.Sequential(nn.Linear(4, 3), nn.Identity(), nn.Linear(3, 3)))
    for name, parameter in build_network(without, 0, "weights", dtype=torch.float64).named_parameters():
        assert torch.equal(network.get_parameter(name), parameter)


@every_ordinary_variant
def test_a_network_has_the_structure_that_is_asked_for_and_else_that_of_the_preset(variant: Variant) -> None:
    for batch_norm in (True, False):
        structure = variant.preset.replaced({"batch_norm": batch_norm}).structure
        network = build_network(variant, 0, "weights", structure=structure)
        assert bool(layers_of(network, nn.BatchNorm1d, nn.BatchNorm2d)) == batch_norm
    preset = build_network(variant, 0, "weights", structure=variant.preset.structure)
    assert torch.equal(flat(preset), flat(build_network(variant, 0, "weights")))


@every_ordinary_variant
def test_the_global_generator_is_left_alone(variant: Variant) -> None:
    before = torch.get_rng_state()
    build_network(variant, 0, "weights")
    assert torch.equal(before, torch.get_rng_state())

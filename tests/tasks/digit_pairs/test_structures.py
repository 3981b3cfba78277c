"""The options of a family's structure change its network as they say, and the parts of networks do what they say."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from pipeline.models.blocks import Layers, ResidualBlock
from pipeline.models.hyperparameters import Structure, Value
from pipeline.tasks.digit_pairs.layers import JoinPair
from pipeline.tasks.digit_pairs.networks import SharedTrunk, TwoTrunks
from pipeline.tasks.registry import get_variant
from tests.models.networks import layers_of, network_of, noise, ordinary, parts, samples


def structure_of(name: str, **options: Value) -> Structure:
    """That of the preset but for these options, if the variant takes it."""
    variant = get_variant(name)
    return variant.check(variant.preset.replaced(options)).structure


def kernels(network: nn.Module) -> set[tuple[int, ...]]:
    return {layer.kernel_size for layer in layers_of(network, nn.Conv2d)}


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("nodes", [1, 16, 264])
def test_nodes_and_layers_are_width_and_number_of_the_hidden_layers(nodes: int, layers: int) -> None:
    variant, structure = get_variant("linear_digits"), structure_of("linear_digits", nodes=nodes, layers=layers)
    widths = list(pairwise([196, *[nodes] * layers, 10]))
    network = network_of(variant, structure)
    assert [(layer.in_features, layer.out_features) for layer in layers_of(network, nn.Linear)] == widths
    assert variant.count(structure) == sum((width + 1) * following for width, following in widths)
    for part in parts(network(samples(variant, 3))):
        assert part.isfinite().all()


@pytest.mark.parametrize("kernel", [1, 3, 5, 13])
def test_the_kernel_of_lenet_is_that_of_both_convolutions(kernel: int) -> None:
    lenet, structure = get_variant("lenet_digits"), structure_of("lenet_digits", kernel=kernel)
    assert kernels(ordinary(lenet, structure)) == {(kernel, kernel)}
    pointwise = lenet.count(structure_of("lenet_digits", kernel=1))
    assert lenet.count(structure) - pointwise == (kernel**2 - 1) * (16 + 16 * 32)
    assert network_of(lenet, structure)(samples(lenet, 3)).digits.shape == (3, 2, 10)


def test_the_auxiliary_classifier_of_lenet_reads_the_first_feature_map_or_is_not_there() -> None:
    lenet = get_variant("lenet_digits")
    with_one, without = (structure_of("lenet_digits", auxiliary=auxiliary) for auxiliary in (True, False))
    x = samples(lenet, 3)
    assert network_of(lenet, with_one)(x).auxiliary.shape == (3, 2, 10)
    assert network_of(lenet, without)(x).auxiliary is None
    assert lenet.count(with_one) - lenet.count(without) == 64 * 10 + 10
    network = ordinary(lenet, with_one)
    network(x).auxiliary.sum().backward()
    reached = {layer for layer in layers_of(network, nn.Conv2d, nn.Linear) if layer.weight.grad is not None}
    first, *_ = layers_of(network, nn.Conv2d)
    *_, classifier = layers_of(network, nn.Linear)
    assert reached == {first, classifier}


@pytest.mark.parametrize("kernel", [3, 7])
@pytest.mark.parametrize("channels", [1, 16])
@pytest.mark.parametrize("blocks", [1, 5])
def test_a_resnet_has_so_many_blocks_of_two_convolutions(blocks: int, channels: int, kernel: int) -> None:
    resnet = get_variant("resnet_digits")
    structure = structure_of("resnet_digits", blocks=blocks, channels=channels, kernel=kernel, batch_norm=False)
    network = ordinary(resnet, structure)
    convolutions = layers_of(network, nn.Conv2d)
    assert len(layers_of(network, ResidualBlock)) == blocks
    between = list(pairwise([1, *[channels] * (1 + 2 * blocks)]))
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == between
    assert kernels(network) == {(kernel, kernel)}
    first = channels * (kernel**2 + 1)
    others = 2 * blocks * channels * (channels * kernel**2 + 1)
    assert resnet.count(structure) == first + others + 10 * channels + 10
    assert network_of(resnet, structure)(samples(resnet, 2)).digits.shape == (2, 2, 10)


def test_the_trunks_of_resnet4_al_share_their_last_layer_and_nothing_else() -> None:
    trunks = layers_of(ordinary(get_variant("resnet4_al")), TwoTrunks)[0]
    first, second = (dict(trunk.named_parameters()) for trunk in (trunks.first, trunks.second))
    shared = {name for name in first if first[name] is second[name]}
    assert {tuple(first[name].shape) for name in shared} == {(10, 288), (10,)}
    assert not {*map(id, first.values())} & {id(second[name]) for name in second.keys() - shared}


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("learning", [False, True])
def test_a_shared_trunk_reads_each_image_as_if_it_were_alone(batch_norm: bool, learning: bool) -> None:
    trunk = nn.Sequential(*Layers(batch_norm).conv(1, 3, 3), nn.Flatten(), nn.Linear(3 * 144, 4)).double()
    shared, x = SharedTrunk(trunk).train(learning), noise(5, 2, 14, 14)
    for image, features in enumerate(shared(x).unbind(1)):
        torch.testing.assert_close(features, trunk(x[:, image : image + 1]), rtol=0, atol=1e-12)


def test_two_trunks_read_one_image_each() -> None:
    first, second = (nn.Sequential(nn.Flatten(), nn.Linear(196, 4)).double() for _ in range(2))
    x = noise(5, 2, 14, 14)
    features = TwoTrunks(first, second)(x)
    torch.testing.assert_close(features[:, 0], first(x[:, 0]), rtol=0, atol=1e-12)
    torch.testing.assert_close(features[:, 1], second(x[:, 1]), rtol=0, atol=1e-12)


def test_joined_images_are_the_channels_of_one_feature_map() -> None:
    x = noise(5, 2, 14, 14)
    assert torch.equal(JoinPair()(x), x)

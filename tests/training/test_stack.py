"""An ordinary module becomes R independent ones, with the containers that a person wrote; the rest is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.tasks.digit_pairs.layers import FoldPair, JoinPair, SplitPair
from pipeline.training.stack import stack
from pipeline.training.stacked import StackedNetworks
from tests.training.networks import (
    assert_equal,
    assert_forward_equals_alone,
    assert_gradients_equal_alone,
    images,
    make_networks,
    networks_of,
    noise,
    parts,
)
from tests.training.plans import OF_DIGITS


@pytest.mark.parametrize("training", [True, False], ids=["learning", "evaluating"])
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("variant", OF_DIGITS)
def test_a_stacked_forward_equals_that_of_each_replica(variant: str, replicas: int, training: bool) -> None:
    networks, x = networks_of(variant, replicas), images(replicas)
    together = StackedNetworks(networks).model.train(training)(x)
    for row, network in enumerate(networks):
        alone = network.train(training)(x[row])
        assert type(together) is type(alone)
        for part, expected in zip(together, alone, strict=True):
            assert (part is None) == (expected is None)
            if part is not None:
                assert_equal(part[row], expected)


@pytest.mark.parametrize("variant", OF_DIGITS)
def test_a_loss_gives_gradients_to_its_own_replica_alone(variant: str) -> None:
    networks = StackedNetworks(networks_of(variant, 3))
    # Evaluating: a normalisation by a batch's own statistics leaves biases before it without a gradient.
    torch.stack([part[1].sum() for part in parts(networks.model.eval()(images(3)))]).sum().backward()
    for gradient in networks.layout.split(networks.gradient()):
        assert gradient[1].any()
        assert not gradient[[0, 2]].any()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.Flatten(), nn.Linear(392, 20), nn.Tanh(), nn.Linear(20, 3)],
        lambda: [nn.Conv2d(2, 4, 5), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(400, 3)],
        lambda: [nn.Conv2d(2, 4, 3, groups=2), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(36, 3)],
    ],
    ids=["vectors", "maps", "groups"],
)
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_joined_pair_is_one_image_of_two_channels(layers: Callable[[], list[nn.Module]], replicas: int) -> None:
    networks, x = make_networks(lambda: nn.Sequential(JoinPair(), *layers()), replicas), images(replicas)
    together = StackedNetworks(networks)
    assert_forward_equals_alone(together.model, networks, x)
    together.model(x).square().sum().backward()
    for network, x_row in zip(networks, x, strict=True):
        assert isinstance(network, nn.Sequential)
        network[1:](x_row).square().sum().backward()  # as if nothing had joined them
    assert_gradients_equal_alone(together, networks)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 6, 3, groups=2, stride=2, bias=False)],
        [nn.Conv2d(1, 3, (5, 3), dilation=2), nn.AvgPool2d(2), nn.Sigmoid(), nn.Identity()],
        [nn.MaxPool2d(3, stride=2), nn.ReLU(), nn.Conv2d(1, 2, 1)],
    ],
    ids=["groups, stride and no bias", "dilation and average pooling", "overlapping maximum pooling"],
)
def test_all_settings_of_layers_are_kept(layers: list[nn.Module]) -> None:
    features = nn.Sequential(*layers, nn.Flatten())(torch.zeros(1, 1, 14, 14)).shape[1]

    def build() -> nn.Module:
        return nn.Sequential(FoldPair(), *copy.deepcopy(layers), nn.Flatten(), nn.Linear(features, 3, bias=False))

    networks = make_networks(build)
    assert_forward_equals_alone(StackedNetworks(networks).model, networks, images(3))


class Wired(nn.Module):
    """Lists, mappings and sequentials inside one another, with a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Sequential(nn.Linear(6, width), nn.Sequential(nn.Tanh(), nn.Linear(width, 5))) for width in (20, 4)]
        )
        self.steps = nn.ModuleDict({"squash": nn.Sigmoid(), "mix": nn.Linear(10, 5, bias=False)})
        self.absent: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.branches]
        mixed = self.steps["mix"](torch.cat(parts, dim=-1)) + parts[0]
        output: Tensor = self.steps["squash"](mixed) * parts[1]
        return output


class Residual(nn.Sequential):
    """A sequential with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = x + layer(x) if isinstance(layer, nn.ReLU) else layer(x)
        return x


@pytest.mark.parametrize(
    "build",
    [
        Wired,
        lambda: Residual(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 6)),
        lambda: nn.Sequential(Residual(nn.Linear(6, 6)), nn.Sequential(Wired(), nn.Linear(5, 2))),
    ],
    ids=["own forward", "own sequential", "nested"],
)
def test_containers_keep_the_forward_that_was_written(build: type[nn.Module]) -> None:
    networks, x = make_networks(build), noise(3, 7, 6)
    together = StackedNetworks(networks)
    assert_forward_equals_alone(together.model, networks, x)
    together.model(x).square().sum().backward()
    for network, x_row in zip(networks, x, strict=True):
        network(x_row).square().sum().backward()
    assert_gradients_equal_alone(together, networks)


class InPlace(nn.Module):
    """An activation that writes over what a layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 20))
        self.activation = nn.ReLU(inplace=True)
        self.last = nn.Sequential(nn.Linear(20, 4), nn.Dropout(0.0), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.activation(self.first(x)))
        return output


def test_an_activation_may_write_over_what_a_linear_layer_gave() -> None:
    networks, x = make_networks(InPlace), noise(3, 7, 6)
    together = StackedNetworks(networks)
    together.model(x).square().sum().backward()
    for network, x_row in zip(networks, x, strict=True):
        network(x_row).square().sum().backward()
    assert_gradients_equal_alone(together, networks)


def test_the_module_that_is_stacked_stays_as_it_is() -> None:
    network = Wired().double()
    before, x = copy.deepcopy(network.state_dict()), noise(4, 6)
    expected = network(x)
    stacked = stack(network, 2)
    stacked.eval()
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.zero_()
    assert network.training
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(network(x), expected)


def test_a_stack_begins_with_the_weights_of_its_module() -> None:
    [network] = networks_of("convnet", 1)
    output = stack(network, 2)(images(1).expand(2, -1, -1, -1, -1))
    for row in output.comparison:
        assert_equal(row, network(images(1)[0]).comparison)


class Twice(nn.Module):
    """One part under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.split = SplitPair()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(196, 3))
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.split(x)
        difference: Tensor = self.first(first) - self.second(second)
        return difference


def test_a_shared_part_is_stacked_once() -> None:
    stacked = stack(Twice().double(), 2)
    assert stacked.first is stacked.second
    assert len(list(stacked.parameters())) == 2
    same_images = images(2)[:, :, :1].expand(-1, -1, 2, -1, -1)
    assert not stacked(same_images).any()


def test_a_parameter_that_two_layers_share_is_refused() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    with pytest.raises(TypeError, match="using one module in several places, not one parameter in several modules"):
        stack(nn.Sequential(first, second), 2)


class Square(nn.Module):
    """A leaf that nobody knows."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


@pytest.mark.parametrize(
    "leaf",
    [
        *(nn.LSTM(4, 4), nn.Conv1d(1, 1, 1), nn.Softmax(1), nn.LogSoftmax(1), nn.LayerNorm(4), nn.GroupNorm(2, 4)),
        *(nn.Embedding(4, 4), nn.Dropout1d(), nn.Dropout2d(), nn.AlphaDropout(), nn.BatchNorm3d(4), nn.PReLU()),
        *(nn.InstanceNorm2d(4), nn.ConvTranspose2d(1, 1, 1), nn.Bilinear(2, 2, 2), nn.Unflatten(1, (2, 2)), nn.GLU()),
        *(nn.MultiheadAttention(4, 1), nn.MaxPool1d(2), nn.Upsample(2), nn.LazyLinear(4), Square()),
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_a_leaf_without_a_batched_layer_is_refused_by_name_with_what_there_is(leaf: nn.Module) -> None:
    rule = f"^{type(leaf).__name__} has no batched layer; give it a method .*, or build the model from .*"
    with pytest.raises(TypeError, match=f"{rule}BatchNorm1d.*Linear.*Tanh"):
        stack(nn.Sequential(FoldPair(), nn.ModuleList([leaf])), 2)


class Wide(nn.Linear):
    """A linear layer that may do something else."""


class Centred(nn.ReLU):
    """An activation that mixes what it should treat apart."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


@pytest.mark.parametrize("leaf", [Wide(4, 4), Centred()], ids=lambda leaf: type(leaf).__name__)
def test_a_leaf_that_was_derived_from_a_known_one_is_refused_by_name(leaf: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"^{type(leaf).__name__} has no batched layer"):
        stack(nn.Sequential(leaf), 2)


class Scale(nn.Module):
    """A container with a parameter or a buffer of its own."""

    def __init__(self, *, trained: bool) -> None:
        super().__init__()
        self.inner = nn.ReLU()
        if trained:
            self.factor = nn.Parameter(torch.ones(1))
        else:
            self.register_buffer("factor", torch.ones(1))


@pytest.mark.parametrize("trained", [True, False], ids=["parameter", "buffer"])
def test_a_container_with_numbers_of_its_own_is_refused_by_name(trained: bool) -> None:
    with pytest.raises(TypeError, match=r"^Scale has no batched layer"):
        stack(nn.Sequential(Scale(trained=trained)), 2)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.Flatten(0)],
    ids=str,
)
def test_settings_that_cannot_be_stacked_are_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"{type(layer).__name__} can be stacked with"):
        stack(layer, 2)

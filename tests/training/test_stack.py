from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.initial import build_network
from pipeline.models.parts import FoldPair, SplitPair
from pipeline.models.registry import get_variant, variants
from pipeline.training.stack import replica_state, select_replicas, stack, write_replica


def networks_of(variant: str, count: int) -> list[nn.Module]:
    return [build_network(get_variant(variant), 0, index, dtype=torch.float64) for index in range(count)]


def stacked_of(networks: list[nn.Module]) -> nn.Module:
    stacked = stack(networks[0], len(networks))
    for position, network in enumerate(networks):
        write_replica(stacked, position, network.state_dict())
    return stacked


def images(replicas: int, batch: int = 5) -> Tensor:
    return torch.randn(replicas, batch, 2, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("variant", variants())
def test_a_stacked_forward_equals_that_of_each_replica(variant: str, replicas: int) -> None:
    networks, x = networks_of(variant, replicas), images(replicas)
    together = stacked_of(networks)(x)
    for replica, network in enumerate(networks):
        alone = network(x[replica])
        torch.testing.assert_close(together.comparison[replica], alone.comparison, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.digits[replica], alone.digits, rtol=0, atol=1e-12)


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
    networks: list[nn.Module] = []
    for _ in range(3):
        network = nn.Sequential(FoldPair(), *copy.deepcopy(layers), nn.Flatten(), nn.Linear(features, 3, bias=False))
        for parameter in network.parameters():
            nn.init.uniform_(parameter, -1, 1, generator=torch.Generator().manual_seed(len(networks)))
        networks.append(network.double())
    x = images(3)
    for replica, output in enumerate(stacked_of(networks)(x)):
        torch.testing.assert_close(output, networks[replica](x[replica]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", variants())
def test_a_loss_gives_gradients_to_its_own_replica_alone(variant: str) -> None:
    stacked = stacked_of(networks_of(variant, 3))
    output = stacked(images(3))
    (output.comparison[1].sum() + output.digits[1].sum()).backward()
    for parameter in stacked.parameters():
        assert parameter.grad is not None
        assert parameter.grad[1].any()
        assert not parameter.grad[[0, 2]].any()


@pytest.mark.parametrize("variant", variants())
def test_replicas_are_written_and_read_back_exactly(variant: str) -> None:
    networks = networks_of(variant, 3)
    stacked = stacked_of(networks)
    for position, network in enumerate(networks):
        state, expected = replica_state(stacked, position), network.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_stack_begins_with_the_weights_of_its_module_and_shares_none() -> None:
    network = get_variant("convnet").build()
    before = copy.deepcopy(network.state_dict())
    stacked = stack(network, 2)
    for replica in range(2):
        assert all(torch.equal(row, before[name]) for name, row in replica_state(stacked, replica).items())
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_selected_replicas_go_on_as_they_were() -> None:
    networks, x = networks_of("convnet_ws", 4), images(4)
    stacked = stacked_of(networks)
    keep = torch.tensor([1, 3])
    select_replicas(stacked, keep)
    output = stacked(x[keep])
    for row, replica in enumerate(keep.tolist()):
        torch.testing.assert_close(output.comparison[row], networks[replica](x[replica]).comparison, rtol=0, atol=1e-12)


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


@pytest.mark.parametrize(
    "leaf",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, affine=False),
        nn.LSTM(4, 4),
        nn.Dropout(),
        nn.Conv1d(1, 1, 1),
        nn.Softmax(1),
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_a_leaf_without_a_twin_is_refused_by_name(leaf: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"{type(leaf).__name__} has no stacked twin"):
        stack(nn.Sequential(FoldPair(), nn.Sequential(leaf)), 2)


class Scale(nn.Module):
    """A container with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ReLU()
        self.factor = nn.Parameter(torch.ones(1))


def test_a_container_with_parameters_of_its_own_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Scale has no stacked twin"):
        stack(Scale(), 2)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.Flatten(0)],
    ids=str,
)
def test_settings_that_cannot_be_stacked_are_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"{type(layer).__name__} can be stacked with"):
        stack(layer, 2)

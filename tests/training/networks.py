"""Networks of one structure, stacked and each alone, and what must be equal of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from pipeline.models.initial import build_network
from pipeline.tasks.registry import get_variant
from pipeline.training.network import ReplicaNetworks


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generators(count: int) -> list[torch.Generator]:
    return [generator(seed) for seed in range(count)]


def networks_of(variant: str, count: int) -> list[nn.Module]:
    """Replicas of a registered variant, without what torch would drop by its global generator."""
    row = get_variant(variant)
    structure = row.preset.replaced({"dropout": 0.0}).structure
    return [build_network(row, 0, index, structure=structure, dtype=torch.float64) for index in range(count)]


def parts(output: Iterable[Tensor | None]) -> list[Tensor]:
    """What an output says: a comparison, digits, or digits twice."""
    return [part for part in output if part is not None]


def squares(output: Iterable[Tensor | None]) -> Tensor:
    """A loss in which everything has a part."""
    return torch.stack([part.square().sum() for part in parts(output)]).sum()


def make_networks(build: Callable[[], nn.Module], count: int = 3) -> list[nn.Module]:
    """Networks in float64, each with parameters and running statistics of its own."""
    networks = []
    for index in range(count):
        network, own = build().double(), generator(index)
        for parameter in network.parameters():
            nn.init.uniform_(parameter, -1, 1, generator=own)
        for buffer in network.buffers():
            if buffer.is_floating_point():
                nn.init.uniform_(buffer, 0.5, 1.5, generator=own)
        networks.append(network)
    return networks


def images(replicas: int, batch: int = 5) -> Tensor:
    """(R, B, 2, 14, 14)."""
    return noise(replicas, batch, 2, 14, 14)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(99))


def as_maps(x_RBCHW: Tensor) -> Tensor:
    """Feature maps of every replica in the layout of the stacked layers, (B, R*C, H, W)."""
    return x_RBCHW.transpose(0, 1).flatten(1, 2)


def rows(output: Tensor, replicas: int) -> list[Tensor]:
    """What each replica said: of vectors (R, B, D) or feature maps (B, R*C, H, W)."""
    return list(output if output.dim() == 3 else output.unflatten(1, (replicas, -1)).transpose(0, 1))


def assert_equal(some: Tensor, others: Tensor) -> None:
    torch.testing.assert_close(some, others, rtol=1e-12, atol=1e-12)


def assert_forward_equals_alone(together: nn.Module, networks: Sequence[nn.Module], x_R: Tensor) -> None:
    """Every replica gives of images or vectors (R, B, ...) what its network gives."""
    for row, network, x in zip(rows(together(x_R), len(networks)), networks, x_R, strict=True):
        assert_equal(row, network(x))


def assert_maps_equal_alone(together: nn.Module, networks: Sequence[nn.Module], x_RBCHW: Tensor) -> None:
    """Every replica gives of feature maps what its network gives."""
    for row, network, x in zip(rows(together(as_maps(x_RBCHW)), len(networks)), networks, x_RBCHW, strict=True):
        assert_equal(row, network(x))


def gradients(networks: ReplicaNetworks) -> list[dict[str, Tensor]]:
    """The gradient of the last backward pass by replica and parameter: what a step of plain descent takes away."""
    values, before = networks.values.clone(), [networks.state(row) for row in range(len(networks))]
    networks.values.sub_(networks.gradient())
    after = [networks.state(row) for row in range(len(networks))]
    networks.values.copy_(values)
    return [{name: old[name] - new[name] for name in old} for old, new in zip(before, after, strict=True)]


def assert_gradients_equal_alone(together: ReplicaNetworks, networks: Sequence[nn.Module]) -> None:
    """After one backward pass of both."""
    for found, network in zip(gradients(together), networks, strict=True):
        for name, parameter in network.named_parameters():
            assert_equal(found[name], torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)

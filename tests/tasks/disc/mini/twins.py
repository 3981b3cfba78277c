"""Networks of the framework, and for each replica the same network of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pipeline.tasks.disc.mini import Linear, Module, ReLU, Sequential, Tanh

NETWORKS: dict[str, Callable[[], Sequential]] = {
    "one layer": lambda: Sequential(Linear(3, 2)),
    "without bias": lambda: Sequential(Linear(3, 4, bias=False), Tanh(), Linear(4, 1, bias=False)),
    "of the report": lambda: Sequential(Linear(3, 25), ReLU(), Linear(25, 25), Tanh(), Linear(25, 1), Tanh()),
    "mixed": lambda: Sequential(Tanh(), Linear(3, 6, bias=False), ReLU(), Tanh(), Linear(6, 2), Linear(2, 2), ReLU()),
    "nested": lambda: Sequential(Sequential(Linear(3, 5), ReLU()), Sequential(Tanh(), Sequential(Linear(5, 2)))),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generators(count: int) -> list[torch.Generator]:
    return [generator(seed) for seed in range(count)]


def noise(*shape: int, seed: int = 99) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def begun(network: Sequential, replicas: int = 3) -> Sequential:
    """The network with replicas in float64; replica r is drawn from seed r."""
    network.initialise(generators(replicas), torch.float64)
    return network


def twin(module: Module, row: int) -> nn.Module:
    """The same network of torch, with the weights of one replica."""
    if isinstance(module, Sequential):
        return nn.Sequential(*[twin(layer, row) for layer in module.layers])
    if isinstance(module, Linear):
        layer = nn.Linear(module.inputs, module.outputs, bias=module.bias is not None, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(module.weight.value[row].T)
            if module.bias is not None:
                layer.bias.copy_(module.bias.value[row])
        return layer
    return nn.ReLU() if isinstance(module, ReLU) else nn.Tanh()


def twins(network: Sequential) -> list[nn.Module]:
    """Of every replica."""
    return [twin(network, row) for row in range(len(network.parameters()[0].value))]


def own_parameters(alone: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, value and gradient of each parameter of a network of torch, laid out as the framework has them."""
    for name, parameter in alone.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        yield name, parameter.detach().t(), gradient.t()


def assert_equal(some: Tensor, others: Tensor) -> None:
    torch.testing.assert_close(some, others, rtol=1e-12, atol=1e-12)


def assert_replica_equals(network: Sequential, row: int, alone: nn.Module) -> None:
    """Names, values and gradients of a replica are those of its twin."""
    expected = list(own_parameters(alone))
    assert [parameter.name for parameter in network.parameters()] == [name for name, _, _ in expected]
    for parameter, (_, value, gradient) in zip(network.parameters(), expected, strict=True):
        assert_equal(parameter.value[row], value)
        assert_equal(parameter.gradient[row], gradient)

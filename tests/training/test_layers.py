"""A batched layer does for every replica what the layer does for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.training.layers import BatchedDropout, BatchedLinear, keep_mask
from pipeline.training.stack import ELEMENTWISE, stack
from pipeline.training.stacked import StackedNetworks
from tests.training.networks import (
    as_maps,
    assert_equal,
    assert_forward_equals_alone,
    assert_gradients_equal_alone,
    assert_maps_equal_alone,
    generator,
    generators,
    make_networks,
    noise,
    rows,
)

RUNS: dict[str, Callable[[], list[nn.Module]]] = {
    "wide": lambda: [nn.Linear(6, 17)],
    "narrow": lambda: [nn.Linear(6, 16)],
    "wide without bias": lambda: [nn.Linear(6, 17, bias=False)],
    "narrow without bias": lambda: [nn.Linear(6, 1, bias=False)],
    "linear layers alone": lambda: [nn.Linear(6, 20), nn.Linear(20, 4, bias=False), nn.Linear(4, 30)],
    "activations between": lambda: [nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 9), nn.Tanh(), nn.Linear(9, 3)],
    "ends with an activation": lambda: [nn.Linear(6, 20, bias=False), nn.ReLU(), nn.Linear(20, 4), nn.Sigmoid()],
    "begins with an activation": lambda: [nn.Tanh(), nn.Linear(6, 20), nn.Sigmoid(), nn.Linear(20, 4)],
    "begins with two activations": lambda: [nn.ReLU(), nn.Sigmoid(), nn.Linear(6, 4)],
    "two activations in a row": lambda: [nn.Linear(6, 20), nn.Tanh(), nn.ReLU(), nn.Linear(20, 4)],
    "three activations at the end": lambda: [nn.Linear(6, 4), nn.Tanh(), nn.Sigmoid(), nn.Tanh()],
    "activations alone": lambda: [nn.Tanh(), nn.Sigmoid(), nn.ReLU()],
    "in place": lambda: [nn.Linear(6, 20), nn.ReLU(inplace=True), nn.Linear(20, 4), nn.ReLU(inplace=True)],
    "interrupted": lambda: [nn.Linear(6, 20), nn.ReLU(), nn.GELU(), nn.Linear(20, 4), nn.Identity(), nn.Tanh()],
    "normalised": lambda: [nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 4), nn.BatchNorm1d(4)],
}


def sequential(build: Callable[[], Sequence[nn.Module]]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*build())


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("input_gradient", [False, True])
@pytest.mark.parametrize("build", RUNS.values(), ids=RUNS)
def test_a_sequential_gives_the_values_and_gradients_of_the_ordinary_one(
    build: Callable[[], list[nn.Module]], input_gradient: bool, replicas: int
) -> None:
    networks = make_networks(sequential(build), replicas)
    if not any(True for _ in networks[0].parameters()):
        together, model = None, stack(networks[0], replicas)
        input_gradient = True
    else:
        together = StackedNetworks(networks)
        model = together.model
    x, x_alone = (noise(replicas, 7, 6).requires_grad_(input_gradient) for _ in range(2))
    output = model(x)
    weights = noise(*output.shape)
    output.backward(weights)
    for network, x_row, row, weight in zip(networks, x_alone, output, weights, strict=True):
        alone = network(x_row)
        assert_equal(row, alone)
        alone.backward(weight)
    if input_gradient:
        assert x.grad is not None
        assert x_alone.grad is not None
        assert_equal(x.grad, x_alone.grad)
    if together is not None:
        assert_gradients_equal_alone(together, networks)


@pytest.mark.parametrize("outputs", [16, 17])
def test_a_stack_by_itself_has_gradients_as_any_module(outputs: int) -> None:
    network = nn.Sequential(nn.Linear(6, outputs), nn.ReLU(), nn.Linear(outputs, 2, bias=False)).double()
    stacked, x = stack(network, 2), noise(2, 5, 6)
    stacked(x).square().sum().backward()
    for row in range(2):
        network.zero_grad()
        network(x[row]).square().sum().backward()
        for layer, alone in zip(stacked, network, strict=True):
            if isinstance(layer, BatchedLinear) and isinstance(alone, nn.Linear):
                assert layer.weight.grad is not None
                assert alone.weight.grad is not None
                assert_equal(layer.as_layer(layer.weight.grad[row]), alone.weight.grad)


def test_a_linear_layer_that_is_used_twice_adds_its_gradients() -> None:
    def build() -> nn.Module:
        twice = nn.Linear(20, 20)
        return nn.Sequential(nn.Linear(6, 20), twice, nn.Tanh(), twice, nn.GELU(), twice)

    networks = make_networks(build)
    together, x = StackedNetworks(networks), noise(3, 7, 6)
    together.model(x).square().sum().backward()
    for network, x_row in zip(networks, x, strict=True):
        network(x_row).square().sum().backward()
    assert_gradients_equal_alone(together, networks)


@pytest.mark.parametrize("leaf", ELEMENTWISE, ids=lambda leaf: leaf.__name__)
def test_every_activation_serves_vectors_and_maps(leaf: type[nn.Module]) -> None:
    vectors = make_networks(lambda: nn.Sequential(nn.Linear(6, 5), leaf(), nn.Linear(5, 4)))
    assert_forward_equals_alone(StackedNetworks(vectors).model, vectors, noise(3, 7, 6))
    maps = make_networks(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), leaf()))
    assert_maps_equal_alone(StackedNetworks(maps).model, maps, noise(3, 5, 2, 6, 6))


@pytest.mark.parametrize(
    "leaf",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.AvgPool2d((2, 3)),
        nn.AdaptiveMaxPool2d(3),
        nn.AdaptiveAvgPool2d((1, 2)),
    ],
    ids=str,
)
def test_every_pooling_serves_maps(leaf: nn.Module) -> None:
    networks = make_networks(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), leaf))
    assert_maps_equal_alone(StackedNetworks(networks).model, networks, noise(3, 5, 2, 9, 9))


NORMALISATIONS: list[dict[str, Any]] = [
    {},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
    {"momentum": 0.3, "eps": 0.1},
]


@pytest.mark.parametrize("settings", NORMALISATIONS, ids=str)
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d], ids=["vectors", "maps"])
class TestBatchNorm:
    def build(self, kind: type[nn.Module], settings: dict[str, Any]) -> list[nn.Module]:
        before = (lambda: nn.Linear(6, 5)) if kind is nn.BatchNorm1d else (lambda: nn.Conv2d(6, 5, 2))
        return make_networks(lambda: nn.Sequential(before(), kind(5, **settings), nn.Tanh()))

    def inputs(self, kind: type[nn.Module]) -> Tensor:
        return noise(3, 7, 6) if kind is nn.BatchNorm1d else noise(3, 7, 6, 4, 4)

    def test_learns_and_keeps_the_statistics_of_each_replica(
        self, kind: type[nn.Module], settings: dict[str, Any]
    ) -> None:
        networks, x = self.build(kind, settings), self.inputs(kind)
        together = StackedNetworks(networks)
        check = assert_forward_equals_alone if kind is nn.BatchNorm1d else assert_maps_equal_alone
        for factor in (1, 2, 3):
            check(together.model, networks, factor * x)
        self.assert_state_equals(together, networks)
        for module in (together.model, *networks):
            module.eval()
        check(together.model, networks, 5 * x)
        self.assert_state_equals(together, networks)

    def assert_state_equals(self, together: StackedNetworks, networks: Sequence[nn.Module]) -> None:
        for row, network in enumerate(networks):
            found, expected = together.state(row), network.state_dict()
            assert list(found) == list(expected)
            for name, tensor in expected.items():
                assert found[name].shape == tensor.shape
                assert found[name].dtype == tensor.dtype
                torch.testing.assert_close(found[name], tensor, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("training", [True, False])
    def test_gives_the_gradients_of_each_replica(
        self, kind: type[nn.Module], settings: dict[str, Any], training: bool
    ) -> None:
        networks, x = self.build(kind, settings), self.inputs(kind)
        together = StackedNetworks(networks)
        output = together.model.train(training)(x if kind is nn.BatchNorm1d else as_maps(x))
        weights = noise(*output.shape)
        output.backward(weights)
        for network, x_row, weight in zip(networks, x, rows(weights, 3), strict=True):
            network.train(training)(x_row).backward(weight)
        assert_gradients_equal_alone(together, networks)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3, momentum=None), nn.BatchNorm2d(3, momentum=None)], ids=str)
def test_batch_normalisation_by_a_cumulative_mean_is_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match=f"{type(layer).__name__} can be stacked with a numeric momentum only"):
        stack(layer, 2)


def dropout(p: float, own: Sequence[torch.Generator]) -> BatchedDropout:
    layer = BatchedDropout(nn.Dropout(p), len(own))
    layer.generators = own
    return layer


@pytest.mark.parametrize("shape", [(200, 30), (40, 6, 5, 5)], ids=["vectors", "maps"])
class TestDropout:
    def ones(self, replicas: int, shape: tuple[int, ...]) -> Tensor:
        x = torch.ones(replicas, *shape, dtype=torch.float64)
        return x if len(shape) == 2 else as_maps(x)

    @pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
    def test_drops_a_share_of_p_and_scales_the_rest(self, shape: tuple[int, ...], p: float) -> None:
        for row in rows(dropout(p, generators(3))(self.ones(3, shape)), 3):
            assert set(row.flatten().tolist()) == {0.0, 1 / (1 - p)}
            share = (row == 0).double().mean().item()
            assert abs(share - p) < 4 * (p * (1 - p) / row.numel()) ** 0.5

    def test_of_a_replica_depends_on_its_own_generator_alone(self, shape: tuple[int, ...]) -> None:
        together = dropout(0.3, [generator(5), generator(1), generator(9)])
        alone = dropout(0.3, [generator(1)])
        for _ in range(3):
            assert torch.equal(rows(together(self.ones(3, shape)), 3)[1], rows(alone(self.ones(1, shape)), 1)[0])

    def test_is_another_one_for_every_replica_and_every_time(self, shape: tuple[int, ...]) -> None:
        layer = dropout(0.5, generators(3))
        drawn = [row for _ in range(2) for row in rows(layer(self.ones(3, shape)), 3)]
        for index, row in enumerate(drawn):
            for other in drawn[:index]:
                assert 0.45 < (row == other).double().mean() < 0.55

    def test_is_what_its_mask_says(self, shape: tuple[int, ...]) -> None:
        x = noise(1, *shape)
        [row] = rows(dropout(0.3, [generator(7)])(x if len(shape) == 2 else as_maps(x)), 1)
        assert_equal(row, x[0] * keep_mask(shape, 0.3, generator(7)) / 0.7)

    def test_does_nothing_without_learning_or_with_p_0(self, shape: tuple[int, ...]) -> None:
        x = self.ones(3, shape)
        assert dropout(0.5, generators(3)).eval()(x) is x
        assert dropout(0.0, generators(3))(x) is x

    def test_with_p_1_drops_all(self, shape: tuple[int, ...]) -> None:
        assert not dropout(1.0, generators(3))(self.ones(3, shape)).any()

    def test_without_a_generator_for_each_replica_is_refused(self, shape: tuple[int, ...]) -> None:
        layer = BatchedDropout(nn.Dropout(0.5), 3)
        for own in ((), generators(2)):
            layer.generators = own
            with pytest.raises(RuntimeError, match="needs a generator for each replica; set its `generators` first"):
                layer(self.ones(3, shape))


@pytest.mark.parametrize("p", [1e-3, 0.25, 0.5, 0.999, 0.99999, 0.9999999])
def test_every_element_is_dropped_with_the_same_probability(p: float) -> None:
    kept = keep_mask((400_001,), p, generator())
    fineness = 2**-16  # sixteen bits are drawn for an element
    error = 4 * ((p * (1 - p) + fineness) / 100_000) ** 0.5 + fineness
    for start in range(4):
        assert abs(1 - p - kept[start::4].double().mean().item()) < error

"""A network that a person brought draws its own weights, from the generator of its name, and moves no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.initial import build_network
from pipeline.training.cost import nominal_seconds
from tests.models.foreign import foreign


class Recurrent(nn.Module):
    """With a size that is not given."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(4, 8, batch_first=True)
        self.last = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(self.memory(x)[0][:, -1])
        return output


class Own(nn.Module):
    """Numbers drawn by hand, which the device `meta` has not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(torch.randn(5, 4, 3).tolist()))
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("blf,lfk->bk", x, self.weight)


NETWORKS = pytest.mark.parametrize(("make", "parameters"), [(Recurrent, 363), (Own, 60)])


@NETWORKS
def test_equal_names_give_equal_weights_and_no_global_generator_moves(
    make: Callable[[], nn.Module], parameters: int
) -> None:
    variant, before = foreign(make, 5, 4), torch.get_rng_state()
    one, same, other = (build_network(variant, 0, "trial", number) for number in (1, 1, 2))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name])
        assert torch.equal(weight, other.state_dict()[name]) == (name == "frozen")
    assert variant.count() == variant.parameters == parameters
    assert nominal_seconds(variant, variant.preset, 100) > 0
    variant.build()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_those_that_torch_draws_with_that_seed() -> None:
    network = build_network(foreign(lambda: nn.Linear(3, 2), 3), 0, "trial", dtype=torch.float64)
    again = build_network(foreign(lambda: nn.Sequential(nn.Linear(3, 2)), 3), 0, "trial")
    for found, expected in zip(network.parameters(), again.parameters(), strict=True):
        assert found.dtype == torch.float64
        assert torch.equal(found.float(), expected)


def test_lazy_sizes_are_found_although_a_sample_alone_has_no_variance() -> None:
    variant = foreign(lambda: nn.Sequential(nn.LazyBatchNorm1d(), nn.LazyLinear(2)), 3)
    network = build_network(variant, 0, "trial")
    assert network.training
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(3,), (3,), (2, 3), (2,)]


def test_examples_are_zeros_of_the_kind_that_the_network_reads() -> None:
    assert foreign(Own, 5, 4).example(2).shape == (2, 5, 4)
    assert foreign(Own, 5, 4).example().dtype == torch.float32
    assert foreign(Own, 5, integer_inputs=True).example().dtype == torch.int64


def test_what_cannot_be_made_at_all_says_why() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        foreign(Own, 5, 4).build((("nodes", 3),))

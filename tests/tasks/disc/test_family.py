"""The network that tells points inside of the disc from points outside."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.errors import InputError
from pipeline.models.variant import Variant
from pipeline.tasks.disc import mini
from pipeline.tasks.disc.objective import Square
from pipeline.tasks.disc.step import network_of as mini_network_of
from pipeline.tasks.registry import get_variant
from tests.models.networks import every, layers_of, network_of, samples


@every("points")
class TestEveryModelOfPoints:
    def test_names_the_report_that_it_comes_from(self, variant: Variant) -> None:
        assert variant.name == variant.family
        assert variant.source.startswith(f"Report {variant.paper}, ")

    def test_answers_each_point_with_yes_or_no(self, variant: Variant) -> None:
        predictions = variant.objective.predict(network_of(variant)(samples(variant, 40)))
        assert predictions.keys() == {"answer"}
        assert (predictions["answer"].shape, predictions["answer"].dtype) == ((40,), torch.bool)

    def test_gives_one_number_between_minus_one_and_one(self, variant: Variant) -> None:
        output = network_of(variant)(samples(variant, 40))
        assert isinstance(output, Tensor)
        assert isinstance(variant.objective, Square)
        assert output.shape == (40, 1)
        assert output.abs().max() <= 1

    def test_has_no_hyperparameters_of_other_optimisers(self, variant: Variant) -> None:
        with pytest.raises(InputError, match=f"{variant.name} has optimiser=sgd and no other, but got optimiser=adam"):
            variant.check(variant.preset.replaced({"optimiser": "adam"}))


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("nodes", [1, 16, 264])
def test_nodes_and_layers_are_width_and_number_of_the_hidden_layers(nodes: int, layers: int) -> None:
    variant = get_variant("disc_mlp")
    structure = variant.check(variant.preset.replaced({"nodes": nodes, "layers": layers})).structure
    widths = list(pairwise([2, *[nodes] * layers, 1]))
    network, by_hand = network_of(variant, structure), mini_network_of(nodes=nodes, layers=layers)
    assert [(layer.in_features, layer.out_features) for layer in layers_of(network, nn.Linear)] == widths
    assert [(layer.inputs, layer.outputs) for layer in by_hand.layers if isinstance(layer, mini.Linear)] == widths
    assert variant.count(structure) == by_hand.count == sum((width + 1) * following for width, following in widths)
    assert network(samples(variant, 3)).isfinite().all()


@pytest.mark.parametrize("layers", [1, 3])
def test_the_network_of_torch_has_the_layers_of_the_one_that_is_trained(layers: int) -> None:
    network = get_variant("disc_mlp").build((("nodes", 4), ("layers", layers)))
    by_hand = mini_network_of(nodes=4, layers=layers)
    assert isinstance(network, nn.Sequential)
    assert [type(layer).__name__ for layer in network] == [type(layer).__name__ for layer in by_hand.layers]
    assert list(network.state_dict()) == [parameter.name for parameter in by_hand.parameters()]
    assert all(tensor.dtype == torch.float32 for tensor in network.state_dict().values())

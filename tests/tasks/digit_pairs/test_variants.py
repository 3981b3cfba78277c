"""What every variant of pairs and digits promises besides what all variants do."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.base.errors import InputError
from pipeline.models.blocks import LAYER_OPTIONS
from pipeline.models.variant import Variant, normalises
from pipeline.tasks.digit_pairs.objectives import METRICS, DigitOutput, Digits, OneLogit, PairObjective, PairOutput
from pipeline.tasks.registry import get_variant, variants
from tests.models.networks import every, layers_of, network_of, noise, ordinary, parts, samples

PARAMETERS = {
    "mlp": 171538,
    "mlp_ws": 86920,
    "mlp_al": 171538,
    "mlp_ws_al": 86920,
    "convnet": 144684,
    "convnet_ws": 72458,
    "convnet_al": 144684,
    "convnet_ws_al": 72458,
    "linear_digits": 43018,
    "mlp3": 73314,
    "mlp3_ws": 33172,
    "mlp3_al": 66302,
    "mlp3_ws_al": 33172,
    "cnn5": 72536,
    "cnn5_ws": 72268,
    "cnn5_al": 144494,
    "cnn5_ws_al": 72268,
    "resnet4": 75746,
    "resnet4_ws": 77812,
    "resnet4_al": 152692,
    "resnet4_ws_al": 77812,
}
"""Those that a report gives exactly, or that follow from the sizes that it gives."""
ABOUT = {"lenet_digits": 60_000, "resnet_digits": 50_000, "alexnet_digits": 1_800_000}
"""Those that report 001 calls "about"."""


@every("pairs", "digits")
class TestEveryVariant:
    def test_is_named_after_its_factors(self, variant: Variant) -> None:
        ws, al = bool(variant.factors["ws"]), bool(variant.factors["al"])
        assert variant.name == variant.family + {"pairs": "_ws" * ws + "_al" * al, "digits": "_digits"}[variant.task]
        assert list(variant.params) == ["arch", "task", "ws", "al"]
        assert variant.objective.hyperparameters == ({"alpha"} if al else set())

    def test_names_the_report_that_it_comes_from(self, variant: Variant) -> None:
        named = re.match(r"Report (\d{3}), ", variant.source)
        assert named is not None
        assert named[1] == variant.paper

    def test_answers_each_pair_with_yes_or_no(self, variant: Variant) -> None:
        answers = variant.objective.predict(network_of(variant)(samples(variant, 40)))["answer"]
        assert (answers.shape, answers.dtype) == ((40,), torch.bool)

    def test_reads_digits_if_it_is_measured_by_them(self, variant: Variant) -> None:
        predictions = variant.objective.predict(network_of(variant)(samples(variant, 3)))
        assert ("digits" in predictions) == (variant.metrics == METRICS)
        assert variant.metrics == (METRICS if variant.task == "digits" or variant.factors["al"] else METRICS[:1])
        if "digits" in predictions:
            assert predictions["digits"].shape == (3, 2)


@every("pairs")
class TestEveryModelOfPairs:
    def test_gives_a_comparison_and_the_digit_scores_that_an_auxiliary_loss_trains(self, variant: Variant) -> None:
        output = network_of(variant)(samples(variant, 3))
        assert isinstance(output, PairOutput)
        assert isinstance(variant.objective, PairObjective)
        assert output.comparison.shape == (3, 1 if isinstance(variant.objective, OneLogit) else 2)
        if variant.factors["al"]:
            assert output.digits is not None
        assert output.digits is None or output.digits.shape == (3, 2, 10)

    def test_gives_equal_images_equal_scores_if_it_shares_weights(self, variant: Variant) -> None:
        x = noise(1, 1, 14, 14).expand(1, 2, 14, 14)
        digits = network_of(variant)(x).digits
        if digits is not None:
            first, second = digits[0]
            assert torch.allclose(first, second, rtol=0, atol=1e-9) == variant.factors["ws"]

    def test_tells_the_first_image_from_the_second(self, variant: Variant) -> None:
        x = samples(variant, 5)
        network = network_of(variant)
        assert not torch.allclose(network(x).comparison, network(x.flip(1)).comparison, rtol=0, atol=1e-6)


@every("digits")
class TestEveryModelOfDigits:
    def test_gives_digit_scores_and_those_of_an_auxiliary_classifier(self, variant: Variant) -> None:
        output = network_of(variant)(samples(variant, 3))
        assert isinstance(output, DigitOutput)
        assert isinstance(variant.objective, Digits)
        assert output.digits.shape == (3, 2, 10)
        assert (output.auxiliary is not None) == variant.factors["al"]
        assert output.auxiliary is None or output.auxiliary.shape == (3, 2, 10)

    def test_reads_each_digit_by_itself(self, variant: Variant) -> None:
        network, x = network_of(variant), samples(variant, 3)
        for scores, swapped in zip(parts(network(x)), parts(network(x.flip(1))), strict=True):
            torch.testing.assert_close(scores, swapped.flip(1), rtol=0, atol=1e-12)
            assert not torch.allclose(scores, swapped, rtol=0, atol=1e-6)


SWITCHED = list(itertools.product([False, True], [0.0, 0.4]))


@every("pairs", "digits")
class TestHiddenLayersOfEveryVariant:
    def test_are_normalised_and_dropped_as_the_options_say(self, variant: Variant) -> None:
        assert variant.options[:2] == LAYER_OPTIONS
        for batch_norm, dropout in SWITCHED:
            hyper = variant.check(variant.preset.replaced({"batch_norm": batch_norm, "dropout": dropout}))
            network = ordinary(variant, hyper.structure)
            norms = layers_of(network, nn.BatchNorm1d, nn.BatchNorm2d)
            drops = layers_of(network, nn.Dropout)
            assert normalises(network) == bool(norms) == batch_norm
            assert {layer.p for layer in drops} == ({dropout} if dropout else set())
            convolutions = layers_of(network, nn.Conv2d)
            assert len(layers_of(network, nn.BatchNorm2d)) == batch_norm * len(convolutions)
            for part in parts(network.eval()(samples(variant, 2))):
                assert part.isfinite().all()

    def test_have_as_many_parameters_with_dropout_and_more_with_normalisation(self, variant: Variant) -> None:
        plain, dropped, normalised, both = (
            variant.count(variant.preset.replaced({"batch_norm": batch_norm, "dropout": dropout}).structure)
            for batch_norm, dropout in SWITCHED
        )
        assert plain == dropped < normalised == both

    def test_need_two_samples_a_step_only_if_they_are_normalised(self, variant: Variant) -> None:
        variant.check(variant.preset.replaced({"batch_size": 1, "batch_norm": False}))
        variant.check(variant.preset.replaced({"batch_size": 2, "batch_norm": True}))
        with pytest.raises(
            InputError, match=f"batch_size=1 for {variant.name}; choose a larger one, or batch_norm=off"
        ):
            variant.check(variant.preset.replaced({"batch_size": 1, "batch_norm": True}))

    def test_all_take_part_in_the_loss(self, variant: Variant) -> None:
        network, x = ordinary(variant), samples(variant, 4)
        output = network(x)
        replica: Any = type(output)(*(None if part is None else part.unsqueeze(0) for part in output))
        batch = {
            "target": torch.tensor([[0, 1, 1, 0]]),
            "digits": torch.tensor([[[3, 1], [2, 2], [0, 9], [8, 7]]]),
        }
        hyper_R = {name: torch.ones(1, dtype=torch.float64) for name in variant.objective.hyperparameters}
        variant.objective.loss_R(replica, batch, hyper_R).sum().backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_parameter_counts_are_those_of_the_report(name: str, parameters: int) -> None:
    assert get_variant(name).parameters == parameters


@pytest.mark.parametrize(("name", "parameters"), ABOUT.items())
def test_parameter_counts_are_about_those_of_the_report(name: str, parameters: int) -> None:
    assert get_variant(name).parameters == pytest.approx(parameters, rel=0.05)


def test_families_of_pairs_have_all_four_variants_and_one_report() -> None:
    families: dict[str, set[tuple[object, object]]] = {}
    reports: dict[str, set[str]] = {}
    for variant in variants().values():
        reports.setdefault(variant.family, set()).add(variant.paper)
        if variant.task == "pairs":
            families.setdefault(variant.family, set()).add((variant.factors["ws"], variant.factors["al"]))
    assert all(len(factors) == 4 for factors in families.values())
    assert all(len(numbers) == 1 for numbers in reports.values())

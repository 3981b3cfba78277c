"""What every variant promises; a new one is tested the day it is registered."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.hyperparameters import HYPERPARAMETERS
from pipeline.models.objectives import DigitOutput, Digits, OneLogit, PairObjective, PairOutput, Square
from pipeline.models.parts import LAYER_OPTIONS
from pipeline.models.registry import get_variant, variants
from pipeline.models.variant import Variant, normalises
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


@every()
class TestEveryVariant:
    def test_is_found_by_its_name(self, variant: Variant) -> None:
        assert get_variant(variant.name) is variant

    def test_is_named_after_its_factors(self, variant: Variant) -> None:
        ending = {
            "pairs": "_ws" * variant.weight_sharing + "_al" * variant.auxiliary_loss,
            "digits": "_digits",
            "points": "",
        }
        assert variant.name == variant.arch + ending[variant.task]
        factors = {"arch": variant.arch, "task": variant.task}
        assert variant.factors == {**factors, "ws": variant.weight_sharing, "al": variant.auxiliary_loss}

    def test_names_the_report_that_it_comes_from(self, variant: Variant) -> None:
        named = re.match(r"Report (\d{3}), ", variant.source)
        assert named is not None
        assert named[1] == variant.report

    def test_samples_of_a_batch_do_not_affect_each_other(self, variant: Variant) -> None:
        network, x = network_of(variant), samples(variant, 3)
        for together, alone in zip(parts(network(x)), parts(network(x[1:2])), strict=True):
            torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-12)

    def test_answers_each_sample_with_yes_or_no(self, variant: Variant) -> None:
        objective, output = variant.objective, network_of(variant)(samples(variant, 40))
        answers = objective.answers(objective.verdict(output))
        assert (answers.shape, answers.dtype) == ((40,), torch.bool)

    def test_has_digit_scores_if_it_recognises_digits(self, variant: Variant) -> None:
        scores = variant.objective.digits(network_of(variant)(samples(variant, 3)))
        if variant.recognises_digits:
            assert scores is not None
        assert scores is None or scores.shape == (3, 2, 10)

    def test_has_a_preset_that_fits(self, variant: Variant) -> None:
        assert variant.check(variant.preset) is variant.preset
        assert (variant.preset.alpha > 0) == variant.auxiliary_loss

    def test_shows_and_takes_alpha_only_with_an_auxiliary_loss(self, variant: Variant) -> None:
        hyper = variant.preset.having({"alpha": 0.5})
        assert ("alpha" in variant.shown(hyper)) == variant.auxiliary_loss
        assert ("alpha" in variant.hyperparameters) == variant.auxiliary_loss
        if variant.auxiliary_loss:
            assert variant.check(hyper) is hyper
        else:
            with pytest.raises(InputError, match=f"{variant.name} has none; got alpha=0.5"):
                variant.check(hyper)

    def test_can_vary_all_hyperparameters_but_those_that_it_does_not_have_and_its_own_options(
        self, variant: Variant
    ) -> None:
        without = variant.fixed | (set() if variant.auxiliary_loss else {"alpha"})
        options = {option.name: option.kind for option in variant.options}
        assert variant.hyperparameters.items() >= options.items()
        assert variant.hyperparameters.keys() - options == HYPERPARAMETERS.keys() - without
        assert not without & variant.shown(variant.preset).keys()

    def test_has_a_value_for_each_option_that_the_option_admits(self, variant: Variant) -> None:
        chosen = dict(variant.preset.structure)
        assert list(chosen) == [option.name for option in variant.options]
        for option in variant.options:
            option.check(chosen[option.name])
            assert type(chosen[option.name]) is option.kind
            if option.default is not None:
                option.check(option.default)
                ordinary = chosen[option.name] == option.default
                assert variant.defaults.get(option.name) == (option.default if ordinary else None)

    def test_refuses_options_that_it_does_not_have(self, variant: Variant) -> None:
        with pytest.raises(UnknownNameError, match="unknown hyperparameter 'no_such_option'"):
            variant.preset.having({"no_such_option": 1})
        for structure in (variant.preset.structure[1:], (*variant.preset.structure, ("no_such_option", 1))):
            hyper = replace(variant.preset, structure=structure)
            with pytest.raises(InputError, match=f"a configuration of {variant.name} has the options"):
                variant.check(hyper)

    def test_refuses_values_that_its_options_do_not_admit(self, variant: Variant) -> None:
        for option in variant.options:
            impossible = {bool: [1, 0.5], int: [int(option.low) - 1, 2.5, True], float: [option.low - 1, 1e9]}
            for value in impossible[option.kind]:
                with pytest.raises(InputError, match=f"^{option.name} must be"):
                    variant.check(variant.preset.having({option.name: value}))

    def test_counts_the_numbers_that_are_trained(self, variant: Variant) -> None:
        network = variant.build()
        own = network.parameters()
        counted = sum(part.numel() for part in own) if isinstance(network, nn.Module) else network.count
        assert variant.parameters == variant.count() == variant.count(variant.preset.structure) == counted


@every("pairs")
class TestEveryModelOfPairs:
    def test_gives_a_comparison_and_the_digit_scores_that_an_auxiliary_loss_trains(self, variant: Variant) -> None:
        output = network_of(variant)(samples(variant, 3))
        assert isinstance(output, PairOutput)
        assert isinstance(variant.objective, PairObjective)
        assert output.comparison.shape == (3, 1 if isinstance(variant.objective, OneLogit) else 2)
        if variant.auxiliary_loss:
            assert output.digits is not None
        assert output.digits is None or output.digits.shape == (3, 2, 10)

    def test_gives_equal_images_equal_scores_if_it_shares_weights(self, variant: Variant) -> None:
        x = noise(1, 1, 14, 14).expand(1, 2, 14, 14)
        digits = network_of(variant)(x).digits
        if digits is not None:
            first, second = digits[0]
            assert torch.allclose(first, second, rtol=0, atol=1e-9) == variant.weight_sharing

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
        assert (output.auxiliary is not None) == variant.auxiliary_loss
        assert output.auxiliary is None or output.auxiliary.shape == (3, 2, 10)

    def test_reads_each_digit_by_itself(self, variant: Variant) -> None:
        network, x = network_of(variant), samples(variant, 3)
        for scores, swapped in zip(parts(network(x)), parts(network(x.flip(1))), strict=True):
            torch.testing.assert_close(scores, swapped.flip(1), rtol=0, atol=1e-12)
            assert not torch.allclose(scores, swapped, rtol=0, atol=1e-6)


@every("points")
class TestEveryModelOfPoints:
    def test_gives_one_number_between_minus_one_and_one(self, variant: Variant) -> None:
        output = network_of(variant)(samples(variant, 40))
        assert isinstance(output, Tensor)
        assert isinstance(variant.objective, Square)
        assert output.shape == (40, 1)
        assert output.abs().max() <= 1

    def test_has_no_hyperparameters_of_other_optimisers(self, variant: Variant) -> None:
        with pytest.raises(InputError, match=f"{variant.name} has optimiser=sgd and no other, but got optimiser=adam"):
            variant.check(variant.preset.having({"optimiser": "adam"}))


SWITCHED = list(itertools.product([False, True], [0.0, 0.4]))


@every("pairs", "digits")
class TestHiddenLayersOfEveryVariant:
    def test_are_normalised_and_dropped_as_the_options_say(self, variant: Variant) -> None:
        assert variant.options[:2] == LAYER_OPTIONS
        for batch_norm, dropout in SWITCHED:
            hyper = variant.check(variant.preset.having({"batch_norm": batch_norm, "dropout": dropout}))
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
            variant.count(variant.preset.having({"batch_norm": batch_norm, "dropout": dropout}).structure)
            for batch_norm, dropout in SWITCHED
        )
        assert plain == dropped < normalised == both

    def test_need_two_samples_a_step_only_if_they_are_normalised(self, variant: Variant) -> None:
        variant.check(variant.preset.having({"batch_size": 1, "batch_norm": False}))
        variant.check(variant.preset.having({"batch_size": 2, "batch_norm": True}))
        with pytest.raises(
            InputError, match=f"batch_size=1 for {variant.name}; choose a larger one, or batch_norm=off"
        ):
            variant.check(variant.preset.having({"batch_size": 1, "batch_norm": True}))

    def test_all_take_part_in_the_loss(self, variant: Variant) -> None:
        network, x = ordinary(variant), samples(variant, 4)
        output = network(x)
        replica: Any = type(output)(*(None if part is None else part.unsqueeze(0) for part in output))
        target_RB, digits_RBC = torch.tensor([[0, 1, 1, 0]]), torch.tensor([[[3, 1], [2, 2], [0, 9], [8, 7]]])
        alpha_R = torch.ones(1, dtype=torch.float64) if variant.auxiliary_loss else None
        variant.objective.loss_R(replica, target_RB, digits_RBC, alpha_R).sum().backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_parameter_counts_are_those_of_the_report(name: str, parameters: int) -> None:
    assert get_variant(name).parameters == parameters


@pytest.mark.parametrize(("name", "parameters"), ABOUT.items())
def test_parameter_counts_are_about_those_of_the_report(name: str, parameters: int) -> None:
    assert get_variant(name).parameters == pytest.approx(parameters, rel=0.05)


def test_families_of_pairs_have_all_four_variants_and_one_report() -> None:
    families: dict[str, set[tuple[bool, bool]]] = {}
    reports: dict[str, set[str]] = {}
    for variant in variants().values():
        reports.setdefault(variant.arch, set()).add(variant.report)
        if variant.task == "pairs":
            families.setdefault(variant.arch, set()).add((variant.weight_sharing, variant.auxiliary_loss))
    assert all(len(factors) == 4 for factors in families.values())
    assert all(len(numbers) == 1 for numbers in reports.values())


def test_an_unknown_model_gives_the_near_misses() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'mlp_sw'; did you mean mlp_ws"):
        get_variant("mlp_sw")

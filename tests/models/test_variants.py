"""What every variant promises; a new one is tested the day it is registered."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.hyperparameters import HYPERPARAMETERS
from pipeline.models.variant import Variant
from pipeline.tasks.registry import get_variant, task_of, variants
from tests.models.networks import every, network_of, parts, samples


def has_alpha(variant: Variant) -> bool:
    """Whether there is an auxiliary loss."""
    return "alpha" in variant.objective.hyperparameters


@every()
class TestEveryVariant:
    def test_is_found_by_its_name(self, variant: Variant) -> None:
        assert get_variant(variant.name) is variant
        assert variant in task_of(variant).variants

    def test_differs_from_the_others_of_its_family_by_its_factors_alone(self, variant: Variant) -> None:
        assert variant.params == {"arch": variant.family, "task": variant.task, **variant.factors}
        family = [other for other in variants().values() if other.family == variant.family]
        assert [other.name for other in family if other.params == variant.params] == [variant.name]
        assert all(other.factors.keys() == variant.factors.keys() for other in family)

    def test_can_be_sent_to_another_process(self, variant: Variant) -> None:
        sent = pickle.loads(pickle.dumps(variant))
        assert sent == variant
        assert hash(sent) == hash(variant)

    def test_samples_of_a_batch_do_not_affect_each_other(self, variant: Variant) -> None:
        network, x = network_of(variant), samples(variant, 3)
        for together, alone in zip(parts(network(x)), parts(network(x[1:2])), strict=True):
            torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-12)

    def test_predicts_for_each_sample(self, variant: Variant) -> None:
        predictions = variant.objective.predict(network_of(variant)(samples(variant, 40)))
        assert predictions
        assert {len(part) for part in predictions.values()} == {40}

    def test_says_what_it_gives(self, variant: Variant) -> None:
        assert variant.objective.description

    def test_has_a_preset_that_fits(self, variant: Variant) -> None:
        assert variant.check(variant.preset) is variant.preset
        assert (variant.preset.alpha > 0) == has_alpha(variant)

    def test_shows_and_takes_alpha_only_with_an_auxiliary_loss(self, variant: Variant) -> None:
        hyper = variant.preset.replaced({"alpha": 0.5})
        assert ("alpha" in variant.shown(hyper)) == has_alpha(variant)
        assert ("alpha" in variant.hyperparameters) == has_alpha(variant)
        if has_alpha(variant):
            assert variant.check(hyper) is hyper
        else:
            with pytest.raises(InputError, match=f"{variant.name} has none; got alpha=0.5"):
                variant.check(hyper)

    def test_can_vary_all_hyperparameters_but_those_that_it_does_not_have_and_its_own_options(
        self, variant: Variant
    ) -> None:
        without = variant.fixed | (set() if has_alpha(variant) else {"alpha"})
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
            variant.preset.replaced({"no_such_option": 1})
        own = variant.preset.structure
        for structure in ((*own, ("no_such_option", 1)), *([own[1:]] if own else [])):
            hyper = replace(variant.preset, structure=structure)
            with pytest.raises(InputError, match=f"a configuration of {variant.name} has the options"):
                variant.check(hyper)

    def test_refuses_values_that_its_options_do_not_admit(self, variant: Variant) -> None:
        for option in variant.options:
            impossible = {bool: [1, 0.5], int: [int(option.low) - 1, 2.5, True], float: [option.low - 1, 1e9]}
            for value in impossible[option.kind]:
                with pytest.raises(InputError, match=f"^{option.name} must be"):
                    variant.check(variant.preset.replaced({option.name: value}))

    def test_counts_the_numbers_that_are_trained(self, variant: Variant) -> None:
        counted = sum(parameter.numel() for parameter in variant.build().parameters())
        assert variant.parameters == variant.count() == variant.count(variant.preset.structure) == counted


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("augmentation", "crop-flip", "unknown augmentation 'crop-flip'; did you mean crop_flip?"),
        ("inputs", "standardized", "unknown inputs 'standardized'; did you mean standardised?"),
    ],
)
def test_an_unknown_transform_gives_the_near_misses(name: str, value: str, rule: str) -> None:
    mlp = get_variant("mlp")
    with pytest.raises(UnknownNameError) as caught:
        mlp.check(mlp.preset.replaced({name: value}))
    assert rule in str(caught.value)


def test_every_name_that_is_a_choice_can_be_chosen() -> None:
    mlp = get_variant("mlp")
    assert mlp.choices.keys() == {name for name, kind in HYPERPARAMETERS.items() if kind is str}
    for name, known in mlp.choices.items():
        assert mlp.defaults[name] in known
        for chosen in known:
            assert getattr(mlp.check(mlp.preset.replaced({name: chosen})), name) == chosen


def test_a_hyperparameter_is_of_one_type_or_refused_with_the_reason() -> None:
    mlp = get_variant("mlp")
    assert {name: mlp.kind_of(name) for name in mlp.hyperparameters} == mlp.hyperparameters
    with pytest.raises(InputError, match="alpha weighs an auxiliary loss, but mlp has none; got alpha"):
        mlp.kind_of("alpha")
    with pytest.raises(UnknownNameError, match="unknown hyperparameter 'epoch'; did you mean epochs"):
        mlp.kind_of("epoch")
    with pytest.raises(UnknownNameError, match="unknown hyperparameter 'optional'; did you mean optionals"):
        mlp.kind_of("optional", "optionals")


def test_an_unknown_model_gives_the_near_misses() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'mlp_sw'; did you mean mlp_ws"):
        get_variant("mlp_sw")

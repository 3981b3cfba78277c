"""What every variant promises; a new one is tested the day it is registered."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.errors import InputError, UnknownNameError
from pipeline.models.parts import PairOutput
from pipeline.models.registry import get_variant, variants
from pipeline.models.variant import CHOICES, DEFAULTS, HYPERPARAMETERS, Hyperparameters, Variant

REPORT_000_PARAMETERS = {
    "mlp": 171538,
    "mlp_ws": 86920,
    "mlp_al": 171538,
    "mlp_ws_al": 86920,
    "convnet": 144684,
    "convnet_ws": 72458,
    "convnet_al": 144684,
    "convnet_ws_al": 72458,
}
every_variant = pytest.mark.parametrize("variant", variants().values(), ids=lambda variant: variant.name)


@every_variant
class TestEveryVariant:
    def test_is_found_by_its_name(self, variant: Variant) -> None:
        assert get_variant(variant.name) is variant

    def test_is_named_after_its_factors(self, variant: Variant) -> None:
        assert variant.name == variant.arch + "_ws" * variant.weight_sharing + "_al" * variant.auxiliary_loss
        assert variant.factors == {"arch": variant.arch, "ws": variant.weight_sharing, "al": variant.auxiliary_loss}

    def test_names_the_report_that_it_comes_from(self, variant: Variant) -> None:
        assert re.search(r"\breports? \d{3}\b", variant.source, re.IGNORECASE)

    def test_gives_comparison_and_digit_scores(self, variant: Variant) -> None:
        output = variant.build()(torch.rand(3, 2, 14, 14))
        assert isinstance(output, PairOutput)
        assert output.comparison.shape == (3, 2)
        assert output.digits.shape == (3, 2, 10)

    def test_samples_of_a_batch_do_not_affect_each_other(self, variant: Variant) -> None:
        network = variant.build().double().eval()
        x = torch.rand(3, 2, 14, 14, dtype=torch.float64)
        together, alone = network(x), network(x[1:2])
        torch.testing.assert_close(together.comparison[1:2], alone.comparison, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.digits[1:2], alone.digits, rtol=0, atol=1e-12)

    def test_shares_weights_if_it_says_so(self, variant: Variant) -> None:
        x = torch.rand(1, 1, 14, 14).expand(1, 2, 14, 14)
        first, second = variant.build().eval()(x).digits[0]
        assert torch.allclose(first, second, atol=1e-6) == variant.weight_sharing

    def test_has_a_preset_that_fits(self, variant: Variant) -> None:
        assert variant.check(variant.preset) is variant.preset
        assert (variant.preset.alpha > 0) == variant.auxiliary_loss

    def test_shows_and_takes_alpha_only_with_an_auxiliary_loss(self, variant: Variant) -> None:
        hyper = Hyperparameters(lr=0.1, batch_size=1, epochs=1, alpha=0.5)
        assert ("alpha" in variant.shown(hyper)) == variant.auxiliary_loss
        if variant.auxiliary_loss:
            assert variant.check(hyper) is hyper
        else:
            with pytest.raises(InputError, match=f"{variant.name} has none; got alpha=0.5"):
                variant.check(hyper)


@pytest.mark.parametrize(("name", "parameters"), REPORT_000_PARAMETERS.items())
def test_parameter_counts_are_those_of_report_000(name: str, parameters: int) -> None:
    assert get_variant(name).parameters == parameters


def test_an_unknown_model_gives_the_near_misses() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'mlp_sw'; did you mean mlp_ws"):
        get_variant("mlp_sw")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"lr": value} for value in (0.0, -1e-3, 100.1, float("nan"), float("inf"))),
        *({"alpha": value} for value in (-0.1, 1.1e6, float("nan"), float("inf"))),
        *({"batch_size": value} for value in (0, -1, 100_001)),
        *({"epochs": value} for value in (0, -1, 10_001)),
        *({"momentum": value} for value in (-0.1, 1.1, float("nan"))),
        *({"weight_decay": value} for value in (-1e-9, 1e4, float("inf"))),
        *({"lr_min": value} for value in (-1e-9, 101.0, float("nan"))),
        *({"restart_epochs": value} for value in (0, 10_001, 2.5)),
    ],
    ids=str,
)
def test_impossible_hyperparameters_are_refused_by_name(wrong: dict[str, Any]) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"but got {name}={value}")):
        make_hyperparameters(**wrong)


@pytest.mark.parametrize("schedule", ["cosine", "cosine_restarts"])
def test_a_schedule_cannot_end_above_its_beginning(schedule: str) -> None:
    with pytest.raises(InputError, match=r"lr_min must be at least 0 and at most 0.001, but got lr_min=0.002"):
        make_hyperparameters(schedule=schedule, lr_min=2e-3)
    make_hyperparameters(schedule=schedule, lr_min=1e-3)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"optimiser": "adamw"}, "unknown optimiser 'adamw'; did you mean adam?"),
        ({"optimiser": "SGD"}, "unknown optimiser 'SGD'; choose from: adam, rmsprop, sgd"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean cosine"),
        ({"schedule": "step"}, "unknown schedule 'step'; choose from: constant, cosine, cosine_restarts"),
        ({"augmentation": "crop-flip"}, "unknown augmentation 'crop-flip'; did you mean crop_flip?"),
        ({"optimiser": 1}, "unknown optimiser '1'; choose from"),
    ],
    ids=str,
)
def test_an_unknown_name_gives_the_near_misses(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make_hyperparameters(**wrong)
    assert rule in str(caught.value)


def make_hyperparameters(**changes: Any) -> Hyperparameters:
    return replace(Hyperparameters(lr=1e-3, batch_size=25, epochs=25, alpha=1.0), **changes)


def test_extreme_hyperparameters_are_allowed() -> None:
    make_hyperparameters(lr=100.0, alpha=1e6, batch_size=100_000, epochs=10_000)
    make_hyperparameters(lr=1e-12, alpha=0.0, batch_size=1, epochs=1)
    make_hyperparameters(momentum=1.0, weight_decay=1e3, lr_min=100.0, restart_epochs=10_000)


CHANGES: dict[str, Any] = {
    "lr": 2e-3,
    "batch_size": 26,
    "epochs": 26,
    "alpha": 0.5,
    "optimiser": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "lr_min": 1e-5,
    "restart_epochs": 6,
    "augmentation": "crop_flip",
}


def test_equal_hyperparameters_and_only_they_have_equal_hashes() -> None:
    assert make_hyperparameters().hash == make_hyperparameters().hash
    assert re.fullmatch("[0-9a-f]{12}", make_hyperparameters().hash)
    changed = [make_hyperparameters(**{name: value}) for name, value in CHANGES.items()]
    assert len({hyper.hash for hyper in (make_hyperparameters(), *changed)}) == 1 + len(HYPERPARAMETERS)


@pytest.mark.parametrize("name", ["lr", "alpha", "momentum", "weight_decay", "lr_min"])
def test_whole_numbers_and_their_fractions_are_the_same_configuration(name: str) -> None:
    whole, real = (make_hyperparameters(**{name: value}) for value in (1, 1.0))
    assert (whole, whole.hash) == (real, real.hash)


def test_the_names_for_search_spaces_are_the_fields_with_their_types() -> None:
    values = make_hyperparameters().as_dict()
    assert list(HYPERPARAMETERS) == list(values) == list(CHANGES)
    assert all(type(values[name]) is kind for name, kind in HYPERPARAMETERS.items())


def test_a_default_is_what_a_configuration_has_that_does_not_say_it() -> None:
    plain = Hyperparameters(lr=1.0, batch_size=1, epochs=1)
    assert DEFAULTS.keys() == HYPERPARAMETERS.keys() - {"lr", "batch_size", "epochs"}
    assert plain.as_dict().items() >= DEFAULTS.items()


def test_every_name_that_is_a_choice_can_be_chosen() -> None:
    assert CHOICES.keys() == {name for name, kind in HYPERPARAMETERS.items() if kind is str}
    for name, known in CHOICES.items():
        assert DEFAULTS[name] in known
        for chosen in known:
            assert getattr(make_hyperparameters(**{name: chosen}), name) == chosen


def test_having_changes_what_it_is_told_and_checks_it() -> None:
    changed = make_hyperparameters().having({"optimiser": "sgd", "momentum": 0.9})
    assert changed == make_hyperparameters(optimiser="sgd", momentum=0.9)
    with pytest.raises(InputError, match="momentum must be"):
        changed.having({"momentum": 2})


@pytest.mark.parametrize("schedule", ["constant", "cosine_restarts"])
def test_trainings_that_differ_in_length_alone_are_on_one_path(schedule: str) -> None:
    short, long = (make_hyperparameters(schedule=schedule, epochs=epochs) for epochs in (3, 30))
    assert short.path == long.path
    others = [make_hyperparameters(**{"schedule": schedule, name: value}) for name, value in CHANGES.items()]
    paths = {name: other.path for name, other in zip(CHANGES, others, strict=True)}
    assert {name for name, path in paths.items() if path == short.path} == {"epochs"}


def test_a_cosine_over_all_epochs_is_a_path_of_its_own() -> None:
    short, long = (make_hyperparameters(schedule="cosine", epochs=epochs) for epochs in (3, 30))
    assert short.path != long.path
    assert short.path == make_hyperparameters(schedule="cosine", epochs=3).path


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, ["momentum", "lr_min", "restart_epochs"]),
        ({"optimiser": "rmsprop"}, ["momentum", "lr_min", "restart_epochs"]),
        ({"optimiser": "sgd"}, ["lr_min", "restart_epochs"]),
        ({"schedule": "cosine"}, ["momentum", "restart_epochs"]),
        ({"schedule": "cosine_restarts"}, ["momentum"]),
        ({"optimiser": "sgd", "schedule": "cosine_restarts"}, []),
    ],
    ids=str,
)
def test_what_has_no_effect_is_not_shown(changes: dict[str, Any], idle: list[str]) -> None:
    hyper = make_hyperparameters(**changes)
    assert hyper.effective == {name: value for name, value in hyper.as_dict().items() if name not in idle}
    assert get_variant("mlp_al").shown(hyper) == hyper.effective
    without = get_variant("mlp").shown(hyper)
    assert without == {name: value for name, value in hyper.effective.items() if name != "alpha"}

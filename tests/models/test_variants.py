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
from pipeline.models.variant import HYPERPARAMETERS, Hyperparameters, Variant

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
    ],
    ids=str,
)
def test_impossible_hyperparameters_are_refused_by_name(wrong: dict[str, Any]) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"but got {name}={value}")):
        make_hyperparameters(**wrong)


def make_hyperparameters(**changes: Any) -> Hyperparameters:
    return replace(Hyperparameters(lr=1e-3, batch_size=25, epochs=25, alpha=1.0), **changes)


def test_extreme_hyperparameters_are_allowed() -> None:
    make_hyperparameters(lr=100.0, alpha=1e6, batch_size=100_000, epochs=10_000)
    make_hyperparameters(lr=1e-12, alpha=0.0, batch_size=1, epochs=1)


def test_equal_hyperparameters_and_only_they_have_equal_hashes() -> None:
    assert make_hyperparameters().hash == make_hyperparameters().hash
    assert re.fullmatch("[0-9a-f]{12}", make_hyperparameters().hash)
    changed: list[dict[str, Any]] = [{}, {"lr": 2e-3}, {"alpha": 0.5}, {"batch_size": 26}, {"epochs": 26}]
    assert len({make_hyperparameters(**change).hash for change in changed}) == len(changed)


def test_the_names_for_search_spaces_are_the_fields() -> None:
    assert list(HYPERPARAMETERS) == list(make_hyperparameters().as_dict())

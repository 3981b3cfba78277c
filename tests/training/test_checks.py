"""A network that cannot be trained, or not twice alike, is refused with the rule, the value and the way out."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.tasks.registry import get_variant
from pipeline.training.checks import check_network
from tests.models.foreign import foreign
from tests.training.brought import BROUGHT, CLASSES, Brought


@pytest.mark.parametrize("brought", BROUGHT.values(), ids=BROUGHT)
def test_networks_of_all_kinds_are_let_through(brought: Brought) -> None:
    variant, before = foreign(brought.make, *brought.shape, integer_inputs=brought.integers), torch.get_rng_state()
    check_network(variant, (), CLASSES, samples=1000)
    assert torch.equal(torch.get_rng_state(), before)


def test_registered_variants_are_let_through() -> None:
    for name in ("mlp_classifier", "disc_mlp"):
        variant = get_variant(name)
        check_network(variant, variant.preset.structure, 10)


def from_python() -> nn.Module:
    layer = nn.Linear(6, 3)
    with torch.no_grad():
        layer.bias.fill_(random.random())
    return layer


def from_numpy() -> nn.Module:
    layer = nn.Linear(6, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.random.randn(3, 6)))  # noqa: NPY002
    return layer


def from_a_generator_of_its_own() -> nn.Module:
    layer = nn.Linear(6, 3)
    with torch.no_grad():
        layer.bias.fill_(np.random.default_rng().random())
    return layer


class Skips(nn.Module):
    """Half of the time, by Python's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.5:
            x = self.first(x)
        output: Tensor = self.last(x)
        return output


class Unrepeatable(Skips):
    """Noise that no seed reaches."""

    def forward(self, x: Tensor) -> Tensor:
        noise = np.random.default_rng().normal(size=6) if self.training else np.zeros(6)
        output: Tensor = self.last(x + torch.from_numpy(noise).float())
        return output


class Noisy(Skips):
    """Also while it is evaluated."""

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(x + torch.randn_like(x))
        return output


class Forgets(Skips):
    """Numbers that are drawn and not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.directions = torch.randn(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(x @ self.directions)
        return output


class Lists(nn.Module):
    """Layers where PyTorch does not look for them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 3)]

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layers[0](x)
        return output


class Pair(Skips):
    """Two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.last(x), x


def deep() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(5, 3))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "wrong size": (
        deep,
        "must take samples of the shape (6,), but of brought its layer 2 (Linear), given (4, 4), failed with "
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x4 and 5x3); change that layer",
    ),
    "wrong classes": (
        lambda: nn.Linear(6, 4),
        "must give 3 numbers for each sample, a tensor (4, 3) for 4 samples, but brought gave (4, 4); end it with a "
        "layer of 3 outputs",
    ),
    "two outputs": (Pair, "a tensor (4, 3) for 4 samples, but brought gave a tuple"),
    "nothing to train": (nn.Flatten, "must have parameters to train, but brought has none"),
    "in a list": (Lists, "in an nn.ModuleList, so that PyTorch finds them"),
    "python": (from_python, "draws from Python's or NumPy's global generator"),
    "numpy": (from_numpy, "draws from Python's or NumPy's global generator"),
    "own generator": (from_a_generator_of_its_own, "but bias of brought is not the same again with the same seed"),
    "python while learning": (Skips, "draws from Python's or NumPy's global generator"),
    "own generator while learning": (Unrepeatable, "draw from torch alone while it learns"),
    "evaluation": (Noisy, "must give the same each time that it is evaluated, but brought does not; let it draw only"),
    "not kept": (Forgets, "must keep all numbers that it computes with as parameters or buffers"),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_others_are_refused(make: Callable[[], nn.Module], said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_network(foreign(make, 6), (), 3)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_which_no_network_can_be_made_are_named() -> None:
    preset = Hyperparameters(lr=0.1, batch_size=5, epochs=1, structure=(("nodes", -1),))
    option = Option(name="nodes", kind=int, low=-1, meaning="width")
    variant = foreign(lambda nodes: nn.Linear(6, nodes), 6, preset=preset, options=(option,))
    with pytest.raises(InputError, match="brought with nodes=-1 raised RuntimeError: Trying to create tensor with neg"):
        check_network(variant, preset.structure, 3)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_made() -> None:
    rule = "must fit into memory, but brought with 90,000,300,000 parameters, batch_size=5 and 7 samples takes about"
    with pytest.raises(InputError, match=rule):
        check_network(foreign(lambda: nn.Linear(300_000, 300_000), 300_000), (), 300_000, samples=7)


def test_samples_have_to_fit_as_well() -> None:
    with pytest.raises(InputError, match="100,000,000,000 samples takes about"):
        check_network(foreign(lambda: nn.Linear(6, 3), 6), (), 3, samples=10**11)

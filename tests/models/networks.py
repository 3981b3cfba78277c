"""Networks of any variant, ready to be asked, and what to ask them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.hyperparameters import Structure
from pipeline.models.initial import build_network
from pipeline.models.variant import Variant
from pipeline.tasks.registry import variants


def every(*tasks: str) -> pytest.MarkDecorator:
    """Run a test for every variant, or for those of these tasks."""
    chosen = [variant for variant in variants().values() if not tasks or variant.task in tasks]
    return pytest.mark.parametrize("variant", chosen, ids=lambda variant: variant.name)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def samples(variant: Variant, count: int) -> Tensor:
    """Inputs of so many samples."""
    return noise(count, *variant.input_shape)


def ordinary(variant: Variant, structure: Structure | None = None) -> nn.Module:
    """A network in float64; without a structure: that of the preset."""
    return build_network(variant, 0, "contract", structure=structure, dtype=torch.float64)


def network_of(variant: Variant, structure: Structure | None = None) -> nn.Module:
    """The same, in evaluation."""
    return ordinary(variant, structure).eval()


def parts(output: Any) -> list[Tensor]:
    """The tensors of an output."""
    return [output] if isinstance(output, Tensor) else [part for part in output if part is not None]


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    """The layers of these kinds, in order."""
    return [layer for layer in network.modules() if isinstance(layer, kinds)]

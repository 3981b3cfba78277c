"""How R replicas of a network train together, which is tried before they do.

    stacked     as one network of batched layers (`pipeline.training.stacked`), the fastest way
    vmapped     as one call under `torch.func.vmap` (`pipeline.training.vmapped`)
    one by one  each by itself (`pipeline.training.single`), whatever it does

A batched layer may be given a dimension that a person counted without replicas, and then gives wrong numbers without a
word. So a network that a person brought trains in the first of these ways in which replicas give what each gives alone:
outputs, gradients, running statistics and what they drop, learning and evaluating.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Structure
from pipeline.models.initial import build_network
from pipeline.models.variant import Variant
from pipeline.training.cost import flops
from pipeline.training.estimators import EstimatorTraining
from pipeline.training.faults import failed_in, in_words, noted, sentence
from pipeline.training.network import ReplicaNetworks
from pipeline.training.outputs import parts_of
from pipeline.training.single import SingleNetworks
from pipeline.training.stacked import StackedNetworks
from pipeline.training.vmapped import VmappedNetworks

Way = Literal["stacked", "vmapped", "one by one"]
SIZES = ((3, 5), (3, 2), (1, 4), (2, 1))
"""Replicas and samples of each that are tried: alone, and one sample alone, `squeeze` takes dimensions away."""
TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}
"""How much numbers may differ, as a part of the largest; single precision is for what cannot be had in double."""
DESCENT = 0.01
VMAPPED_MIN, VMAPPED_FLOPS = 6, 30e6
"""Replicas below which, and operations of a step above which, a CPU is faster with vmapped networks one by one: vmap
takes about 0.4 ms a step, and saves what PyTorch takes to prepare each operation."""
LARGEST = 20_000_000
"""Trained numbers above which a network keeps a core busy by itself."""


@dataclass(frozen=True)
class Trained:
    """How replicas of a network train together."""

    way: Way
    reason: str
    """What stood in the way of a faster one; for the fastest, that nothing did."""


@cache
def way_of(variant: Variant, structure: Structure) -> Trained:
    """The fastest way that is right."""
    if isinstance(variant.make_step, EstimatorTraining):
        return Trained("one by one", "an estimator is fitted by itself")
    if not variant.foreign or variant.make_step is not None:
        return Trained("stacked", "it is made of layers that have batched ones")
    if variant.count(structure) > LARGEST:
        return Trained("one by one", f"it trains more than {LARGEST:,} numbers")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dtype, positive in product(TOLERANCES, (False, True)):
            trial = _Trial(variant, structure, dtype, positive=positive)
            if not trial.fault:
                break
        else:
            return Trained("one by one", trial.fault)
        if fault := trial.fault_of(VmappedNetworks, "vmap does not see all that its forward changes"):
            return Trained("one by one", fault)
        # What vmap does not go through, such as a decision by numbers, is not safe to stack either.
        if len(variant.input_shape) not in (1, 3):
            return Trained("vmapped", "samples that are neither vectors nor images have no batched layout")
        if not all(parameter.requires_grad for parameter in variant.without_numbers(structure).parameters()):
            return Trained("vmapped", "some of its parameters are not trained")
        stacked = partial(StackedNetworks, maps=takes_maps(variant))
        if fault := trial.fault_of(stacked, "a dimension is named in its forward"):
            return Trained("vmapped", fault)
    return Trained("stacked", "each of its layers has a batched one, which gives the same")


def fastest_way(variant: Variant, structure: Structure, batch_size: int, device: str) -> Way:
    """The way in which a step of so many samples is fastest on a device."""
    way = way_of(variant, structure).way
    if way != "vmapped" or device != "cpu":
        return way
    return "one by one" if batch_size * flops(variant, structure) > VMAPPED_FLOPS else way


def takes_maps(variant: Variant) -> bool:
    """Whether a stacked network is given images as feature maps."""
    return variant.foreign and len(variant.input_shape) == 3


def make_networks(
    way: Way, networks: Sequence[nn.Module], variant: Variant, *, bfloat16: bool, device: str
) -> ReplicaNetworks:
    """Networks of a variant that train this way; they must not be used otherwise any more.

    Raises InputError where that is not possible in half precision.
    """
    if way == "stacked":
        return StackedNetworks(networks, bfloat16=bfloat16, device=device, maps=takes_maps(variant))
    check_precision(way, variant, bfloat16=bfloat16)
    if way == "vmapped" and len(networks) >= (VMAPPED_MIN if device == "cpu" else 2):
        return VmappedNetworks(networks, device=device)
    return SingleNetworks(networks, device=device)


def check_precision(way: Way, variant: Variant, *, bfloat16: bool) -> None:
    """Raise InputError unless networks that train this way can compute on rounded numbers."""
    if bfloat16 and variant.make_step is not None:
        raise InputError(f"{variant.name} trains in float32 only, but got --precision bfloat16")
    if bfloat16 and way != "stacked":
        raise InputError(
            f"--precision bfloat16 needs a network whose layers all have batched ones, but {variant.name} trains "
            f"{way}; choose --precision float32"
        )


class _Trial:
    """What networks of a variant do each alone, and whether they do the same another way."""

    def __init__(self, variant: Variant, structure: Structure, dtype: torch.dtype, *, positive: bool) -> None:
        self.variant, self.structure, self.dtype, self.positive = variant, structure, dtype, positive
        self.alone: dict[tuple[int, int], list[Tensor]] = {}
        self.fault = ""
        """Why it cannot be tried."""
        for replicas, batch in SIZES:
            with noted() as errors:
                self.alone[replicas, batch] = self._seen(SingleNetworks, replicas, batch)
            if errors and batch > 1:  # one sample alone has no variance
                self.fault = in_words(errors[0])
                break
            if not all(part.isfinite().all() for part in self.alone.get((replicas, batch), [])):
                self.fault = "it gives what is no number, which cannot be compared"
                break

    def fault_of(self, make: Callable[[Sequence[nn.Module]], ReplicaNetworks], usual: str) -> str:
        """What is wrong with networks that train another way, which `usual` is why they differ; empty if nothing is."""
        for (replicas, batch), expected in self.alone.items():
            with noted() as errors, warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                found = self._seen(make, replicas, batch)
            slow = [str(warning.message) for warning in warned if "performance drop" in str(warning.message)]
            if errors:
                fault = in_words(errors[0])
                return f"{usual}: {fault}" if failed_in(errors[0]) and make is not VmappedNetworks else fault
            if slow:
                return sentence(slow[0])
            if [part.shape for part in found] != [part.shape for part in expected]:
                return f"{usual}: outputs have another shape"
            if not all(map(self._is_close, found, expected)):
                return f"{usual}: outputs differ"
        return ""

    def _is_close(self, found: Tensor, expected: Tensor) -> bool:
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        return torch.allclose(found, expected, rtol=0, atol=TOLERANCES[self.dtype] * max(1.0, largest))

    def _seen(self, make: Callable[[Sequence[nn.Module]], ReplicaNetworks], replicas: int, batch: int) -> list[Tensor]:
        """All that R networks give in two steps of descent and an evaluation, and the state in which that leaves
        them."""
        networks = make(
            [
                build_network(self.variant, 0, "trial", row, structure=self.structure, dtype=self.dtype)
                for row in range(replicas)
            ]
        )
        networks.use_generators([torch.Generator().manual_seed(row) for row in range(replicas)])
        draws = torch.Generator().manual_seed(replicas)
        seen = []
        if batch > 1:
            networks.train()
            for _ in range(2):
                parts = parts_of(networks(self._inputs(replicas, batch, draws)))
                seen += [part.detach() for part in parts]
                weighed = [
                    (part * torch.randn(part.shape, generator=draws, dtype=part.dtype)).sum()
                    for part in parts
                    if part.requires_grad
                ]
                torch.stack(weighed).sum().backward()
                networks.values.sub_(networks.gradient(), alpha=DESCENT)
                networks.refresh()
        networks.eval()
        with torch.inference_mode():
            seen += parts_of(networks(self._inputs(replicas, batch, draws)))
        return [*seen, *(part for row in range(replicas) for part in networks.state(row).values())]

    def _inputs(self, replicas: int, batch: int, generator: torch.Generator) -> Tensor:
        shape = (replicas, batch, *self.variant.input_shape)
        if self.variant.integer_inputs:
            return torch.randint(2, shape, generator=generator)
        x = torch.randn(shape, generator=generator, dtype=self.dtype)
        return x.abs() if self.positive else x

"""What a training costs, from its structure alone, so that it is the same number on every machine."""

from __future__ import annotations

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.hyperparameters import Hyperparameters, Structure
from pipeline.models.variant import Variant

FLOPS_A_SECOND, SECONDS_A_STEP = 135e9, 83e-6
"""Of one replica beside others on two cores (AMD EPYC): mlp_ws_al takes 6.9, 9.4 and 16.1 ms an epoch of 1,000 samples
at batch 100, 25 and 8."""


def nominal_seconds(variant: Variant, hyper: Hyperparameters, samples: int) -> float:
    """The time of one training on `samples`, as a machine of stated speed would take it."""
    steps = -(-samples // hyper.batch_size)
    epoch = samples * flops(variant, hyper.structure) / FLOPS_A_SECOND + steps * SECONDS_A_STEP
    return hyper.epochs * epoch


def nominal_epoch_seconds(variant: Variant, hyper: Hyperparameters, samples: int, held_out: int) -> float:
    """The time of one epoch on `samples`, with a look at the held-out ones, which need the forward pass alone."""
    looked = held_out * flops(variant, hyper.structure) / 3 / FLOPS_A_SECOND
    return nominal_seconds(variant, hyper, samples) / hyper.epochs + looked


@cache
def flops(variant: Variant, structure: Structure) -> float:
    """Of one sample, forward and backward; the backward pass is twice the forward one."""
    try:
        with torch.device("meta"):
            operations = _forward_flops(variant, structure)
    except Exception:  # of any kind: it is a person's own program
        if not variant.foreign:
            raise
        operations = _forward_flops(variant, structure)
    return 3.0 * operations


def _forward_flops(variant: Variant, structure: Structure) -> float:
    network = variant.build(structure).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(variant.example())
    return float(counter.get_total_flops())

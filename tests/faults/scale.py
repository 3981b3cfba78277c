"""How much the fault tests do: all that they are meant to, or a short form."""

from __future__ import annotations

import os

FULL = os.environ.get("VARIANTLAB_FAULTS") == "full"


FEW_TRIALS = 8
"""Of searches whose length is not what matters: one number, so that what they have to find is found once."""


def scaled(full: int, short: int) -> int:
    """A number of cases: the full one if that is asked for."""
    return full if FULL else short

"""Named randomness: every random draw has a generator of its own, derived from a name.

A name is the root seed followed by words and numbers, for example ``(0, "trial", 3, "round", 0, "fold", 1)``. Equal
names give equal draws wherever and in whatever order they are made; different names give independent ones. There is no
global seed, so nothing that one part of the program draws can shift what another part sees.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(seed: int, *name: str | int) -> int:
    """The 63-bit seed that belongs to this name (BLAKE2b of its JSON text)."""
    text = json.dumps([seed, *name], separators=(",", ":"))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def numpy_generator(seed: int, *name: str | int) -> np.random.Generator:
    """A NumPy generator that belongs to this name."""
    return np.random.default_rng(derive(seed, *name))

"""The registry: every variant by name.

Each module of `pipeline.models.families` that defines `VARIANTS` is read, so a new file there is a new family.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pipeline.base.errors import UnknownNameError
from pipeline.models import families
from pipeline.models.variant import Variant


@cache
def variants() -> dict[str, Variant]:
    """All variants by name, families in alphabetical order and each in its own order.

    Raises ValueError when two variants share a name.
    """
    found: dict[str, Variant] = {}
    for module in sorted(pkgutil.iter_modules(families.__path__), key=lambda module: module.name):
        for variant in importlib.import_module(f"{families.__name__}.{module.name}").VARIANTS:
            if variant.name in found:
                raise ValueError(f"variant names must be unique, but {variant.name!r} is defined twice")
            found[variant.name] = variant
    return found


def get_variant(name: str) -> Variant:
    """The variant of this name. Raises UnknownNameError with the near misses."""
    known = variants()
    if name not in known:
        raise UnknownNameError("model", name, known)
    return known[name]

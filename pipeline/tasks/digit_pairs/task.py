"""Report by report: pairs of digits, the models that compare them, and how they are measured and shown."""

from __future__ import annotations

import importlib
import pkgutil

from pipeline.data.dataset import Samples
from pipeline.data.source import Source
from pipeline.models.variant import Variant
from pipeline.reports.tables import class_table
from pipeline.tasks.api import Task, Views
from pipeline.tasks.digit_pairs import families
from pipeline.tasks.digit_pairs.dataset import CLASSES
from pipeline.tasks.digit_pairs.objectives import METRICS
from pipeline.tasks.digit_pairs.options import DATA_OPTIONS, FACTOR_TITLES
from pipeline.tasks.digit_pairs.prepared import is_prepared, load_digits


def _variants() -> list[Variant]:
    """Those of all families in alphabetical order, each in its own order."""
    modules = sorted(pkgutil.iter_modules(families.__path__), key=lambda module: module.name)
    return [
        variant
        for module in modules
        for variant in importlib.import_module(f"{families.__name__}.{module.name}").VARIANTS
    ]


def _digits(*, takes_folder: bool = False) -> Source:
    options = tuple(DATA_OPTIONS.values())
    return Source(load=load_digits, is_prepared=is_prepared, options=options, takes_folder=takes_folder)


def lesser_or_equal(samples: Samples) -> float:
    """The share of pairs whose first digit is."""
    return float(samples["target"].mean())


def views() -> Views:
    """Pairs, and wrong answers by pair of digits."""
    from pipeline.tasks.digit_pairs.pictures import BREAKDOWN, errors, sample_pairs

    return Views(
        composition=lambda splits: class_table(splits, [str(digit) for digit in range(CLASSES)]),
        shares={"lesser or equal": lesser_or_equal},
        samples=sample_pairs,
        errors=errors,
        breakdown=BREAKDOWN,
    )


TASK = Task(
    name="digit_pairs",
    datasets={"mnist5k": _digits(), "mnist": _digits(), "idx": _digits(takes_folder=True)},
    variants=_variants(),
    metrics=METRICS,
    factor_titles=FACTOR_TITLES,
    example="mlp_ws_al",
    views=views,
)

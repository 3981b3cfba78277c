"""Report by report: pairs of digits, the models that compare them, and how they are measured and shown."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import numpy as np

from pipeline.base.errors import InputError
from pipeline.data.dataset import Dataset, Samples, Splits
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.splitting import split
from pipeline.models.metrics import ERROR
from pipeline.models.objectives import CrossEntropy
from pipeline.models.variant import Variant
from pipeline.reports.tables import class_table
from pipeline.tasks.api import Task, Terms, Views
from pipeline.tasks.digit_pairs import families
from pipeline.tasks.digit_pairs.dataset import CLASSES, DigitSet
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
    return Source(load=load_digits, is_prepared=is_prepared, options=options, takes_folder=takes_folder, samples=1000)


def lesser_or_equal(samples: Samples) -> float:
    """The share of pairs whose first digit is."""
    return float(samples["target"].mean())


def views() -> Views:
    """Pairs, and wrong answers by pair of digits."""
    from pipeline.tasks.digit_pairs.pictures import BREAKDOWN, errors, sample_pairs

    return Views(
        composition=lambda splits: class_table(splits, splits.classes or [str(digit) for digit in range(CLASSES)]),
        shares={"lesser or equal": lesser_or_equal},
        samples=lambda samples: sample_pairs(samples) if samples["x"].ndim == 4 else None,  # not those in colour
        errors=errors,
        breakdown=BREAKDOWN,
    )


def split_pairs(data: Labelled, test_size: float) -> Splits:
    """Any images (N, ...) in classes that have an order: pairs of them are compared as pairs of digits are."""
    splits = split(data, classes=True, test_size=test_size)
    if len(splits.classes) > CLASSES:
        raise InputError(f"items of a pair are in {CLASSES} classes at most, but {data.name} has {len(splits.classes)}")
    train, test = (_items(part) for part in (splits.train, splits.test))
    return replace(splits, train=train, test=test)


def _items(part: Dataset) -> DigitSet:
    x_N, labels_N = part.arrays[0], part.labels
    is_grey = x_N.ndim == 4 and x_N.shape[1] == 1
    return DigitSet(images_NHW=(x_N[:, 0] if is_grey else x_N).astype(np.float32), labels_N=labels_N.astype(np.int64))


def terms(_splits: Splits) -> Terms:
    """A score for "greater" and one for "lesser or equal", of two images in one sample."""
    return Terms(
        title="compares the two items of a pair",
        learned="pairs",
        objective=CrossEntropy(),
        outputs=2,
        classes=2,
        metrics=(ERROR,),
    )


TASK = Task(
    name="digit_pairs",
    datasets={"mnist5k": _digits(), "mnist": _digits(), "idx": _digits(takes_folder=True)},
    variants=_variants(),
    metrics=METRICS,
    factor_titles=FACTOR_TITLES,
    example="mlp_ws_al",
    views=views,
    split=split_pairs,
    terms=terms,
)

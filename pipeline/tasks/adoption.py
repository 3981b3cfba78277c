"""From a model that a person brings, and data, to a variant of a task."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from pipeline.base.errors import InputError
from pipeline.data.dataset import Splits
from pipeline.models.hyperparameters import HYPERPARAMETERS, Hyperparameters
from pipeline.models.objectives import CrossEntropy
from pipeline.models.own.definition import Definition, Facts
from pipeline.models.own.portable import Portable
from pipeline.models.transforms import ImputedFeatures, StandardisedFeatures, Transforms, standardised, unscaled
from pipeline.models.variant import Variant
from pipeline.tasks.api import Task, Terms
from pipeline.training.checks import check_network
from pipeline.training.estimators import EstimatorTraining, Placeholder

LR, BATCH_SIZE, EPOCHS = 1e-3, 25, 25
"""What a network begins with that says nothing of it, with Adam."""
RAW = "raw"
"""Inputs as they are in the data set."""


def adopt(definition: Definition, task: Task, splits: Splits) -> Variant:
    """The variant that learns this task from these data.

    Raises InputError where the task takes no models of others, and where the model does not fit the data.
    """
    if task.terms is None:
        raise InputError(
            f"a model of your own needs a task that takes any, but {task.name} has models of its own alone"
        )
    terms = task.terms(splits)
    x = splits.train.gather(np.arange(splits.train.items_per_sample, dtype=np.int32)[None])["x"]
    is_integer = np.issubdtype(x.dtype, np.integer) and x.dtype != np.uint8
    transforms = _transforms(definition, splits, x.shape[1:], is_integer=is_integer)
    facts = facts_of(splits, terms, x.shape[1:], is_integer=is_integer)
    make = Portable.of(definition.constructor(facts))
    inputs = next(iter(transforms.scalings))
    variant = Variant(
        name=definition.name,
        family=definition.family,
        task=terms.learned,
        title=terms.title,
        source=definition.source or f"{definition.reference}, without a docstring.",
        factors=definition.factors,
        objective=terms.objective,
        metrics=terms.metrics,
        transforms=transforms,
        input_shape=x.shape[1:],
        integer_inputs=is_integer,
        preset=Hyperparameters(
            lr=LR, batch_size=BATCH_SIZE, epochs=EPOCHS, inputs=inputs, structure=definition.defaults()
        ),
        options=definition.options(),
        make=make,
        foreign=True,
        reference=definition.reference,
        code=definition.code,
        folder=definition.folder,
    )
    if definition.is_estimator:
        return _estimator(variant, make, terms)
    check_network(variant, variant.preset.structure, terms.outputs, samples=len(splits.train) + len(splits.test))
    return variant


def without_data(definition: Definition) -> Variant:
    """What can be said of a model before any data are at hand: which hyperparameters it has. It cannot be trained."""
    return Variant(
        name=definition.name,
        family=definition.family,
        task="",
        title="",
        factors=definition.factors,
        objective=CrossEntropy(),
        input_shape=(),
        preset=Hyperparameters(lr=LR, batch_size=BATCH_SIZE, epochs=EPOCHS, structure=definition.defaults()),
        options=definition.options(),
        fixed=frozenset(HYPERPARAMETERS) if definition.is_estimator else frozenset(),
        make=_without_network,
        foreign=True,
        reference=definition.reference,
        code=definition.code,
        folder=definition.folder,
    )


def _without_network(**_options: Any) -> nn.Module:
    return nn.Identity()


def facts_of(splits: Splits, terms: Terms, shape: tuple[int, ...], *, is_integer: bool) -> Facts:
    """What constructor arguments are filled in with."""
    parts = [part.arrays[0] for part in (splits.train, splits.test)]
    is_index = is_integer and all(part.min() >= 0 for part in parts)
    return Facts(
        input_shape=shape,
        in_features=math.prod(shape),
        in_channels=shape[0],
        out_features=terms.outputs,
        num_classes=terms.classes or None,
        num_embeddings=max(int(part.max()) for part in parts) + 1 if is_index else None,
    )


def _transforms(definition: Definition, splits: Splits, shape: tuple[int, ...], *, is_integer: bool) -> Transforms:
    """Features are scaled one by one, images and sequences as a whole; indices and estimators' inputs not at all."""
    impute = splits.impute or None
    raw = ImputedFeatures(impute) if impute else unscaled
    if is_integer or definition.is_estimator:
        return Transforms(scalings={RAW: raw})
    scaling = StandardisedFeatures(impute or "mean") if len(shape) == 1 else standardised
    return Transforms(scalings={"standardised": scaling, RAW: raw})


def _estimator(variant: Variant, make: Portable, terms: Terms) -> Variant:
    """One that is fitted instead of trained: at once, on all samples, by nothing but its constructor arguments."""
    from dataclasses import replace

    hyper = replace(variant.preset, lr=1.0, batch_size=1, epochs=1)
    training = EstimatorTraining(make=make, outputs=terms.outputs, classes=bool(terms.classes))
    return replace(
        variant,
        preset=hyper,
        fixed=frozenset(HYPERPARAMETERS),
        make=Placeholder(terms.outputs),
        make_step=training,
    )

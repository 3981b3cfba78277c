"""`sklearn:NAME`: the small data sets that come with scikit-learn."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.options import TEST_SIZE

PREFIX = "sklearn:"
NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Those with one target."""


def load(config: DataConfig) -> Labelled:
    """The samples of the data set of this name, as features (N, D)."""
    from sklearn import datasets  # a second to import

    found = getattr(datasets, f"load_{config.dataset.removeprefix(PREFIX)}")()
    return Labelled(
        name=config.dataset,
        source=f"{config.dataset.removeprefix(PREFIX)}, {len(found.target)} samples shipped with scikit-learn "
        f"{version('scikit-learn')}",
        x=found.data.astype(np.float32),
        target=found.target,
        features=tuple(map(str, found.feature_names)),
        classes=tuple(map(str, found.get("target_names", ()))),
    )


def sklearn_source(dataset: str) -> Source:
    """The data set of this name. Raises UnknownNameError with the near misses, and InputError for several targets."""
    name = dataset.removeprefix(PREFIX)
    if name == "linnerud":
        raise InputError("a data set needs one target, but sklearn:linnerud has three; choose one in a file.py:load")
    if name not in NAMES:
        raise UnknownNameError("data set of scikit-learn", name, NAMES)
    return Source(load=load, options=(TEST_SIZE,))

"""`sklearn:NAME`: the small data sets that come with scikit-learn."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.options import SKLEARN, SKLEARN_NAMES, TEST_SIZE


def load(config: DataConfig) -> Labelled:
    """The samples of the data set of this name, as features (N, D)."""
    from sklearn import datasets  # a second to import

    name = config.dataset.removeprefix(SKLEARN)
    found = getattr(datasets, f"load_{name}")()
    return Labelled(
        name=config.dataset,
        source=f"{name}, {len(found.target)} samples shipped with scikit-learn {version('scikit-learn')}",
        x=found.data.astype(np.float32),
        target=found.target,
        features=tuple(map(str, found.feature_names)),
        classes=tuple(map(str, found.get("target_names", ()))),
    )


def sklearn_source(dataset: str) -> Source:
    """The data set of this name. Raises UnknownNameError with the near misses, and InputError for several targets."""
    name = dataset.removeprefix(SKLEARN)
    if name == "linnerud":
        raise InputError("a data set needs one target, but sklearn:linnerud has three; choose one in a file.py:load")
    if name not in SKLEARN_NAMES:
        raise UnknownNameError("data set of scikit-learn", name, SKLEARN_NAMES)
    return Source(load=load, options=(TEST_SIZE,))

"""`torchvision:NAME`: the data sets of images that torchvision downloads."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, UnknownNameError
from pipeline.base.files import given_path, writable_folder
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.downloads import DOWNLOAD_ERRORS, downloads_to, reason, socket_timeout
from pipeline.data.sources.folder import COLOUR, GREY, stacked
from pipeline.data.sources.options import TEST_SIZE, TORCHVISION

VARIANTS: dict[str, dict[str, str]] = {"EMNIST": {"split": "balanced"}, "QMNIST": {}}
"""Data sets whose constructors hide that they download, and what must be chosen of them besides the part."""


def load(config: DataConfig) -> Labelled:
    """Images (N, C, H, W) and the number of the class of each, with the data set's own test part where it has one.

    Raises UnknownNameError with the near misses, and DataError where it cannot be downloaded, is damaged, or has images
    of several sizes or labels that are no classes.
    """
    name = config.dataset.removeprefix(TORCHVISION)
    kind, root = _kind(name), _root(config)
    if not root.is_dir():  # one that is there may well be read-only
        writable_folder(root, "--data-dir" if config.data_dir else "--cache-dir")
    try:
        with socket_timeout():
            parts = [_read(kind(str(root), download=True, **chosen), config.dataset) for chosen in _parts(kind, name)]
    except DOWNLOAD_ERRORS as error:
        raise DataError(
            f"{name} must be downloaded on first use, but that failed ({reason(error)}); delete {root} if an earlier "
            f"download was cut short, or give a folder that torchvision has downloaded it to as --data-dir"
        ) from error
    images = [image for part, _, _ in parts for image in part]
    if len(sizes := {image.shape[:2] for image in images}) > 1:
        (first_h, first_w), (h, w) = sorted(sizes)[0], sorted(sizes)[-1]
        raise DataError(
            f"all images must be of one size, but those of {config.dataset} are of {first_w}x{first_h} to {w}x{h}; "
            f"resize them in a function of your own that gives (X, y), as --dataset file.py:load"
        )
    return Labelled(
        name=config.dataset,
        source=f"torchvision's {name} in {root.resolve()}",
        x=stacked(images),
        target=np.array([label for _, part, _ in parts for label in part], dtype=np.int64),
        test=np.repeat([False, True], [len(part) for part, _, _ in parts]) if len(parts) == 2 else None,
        classes=parts[0][2],
    )


def _root(config: DataConfig) -> Path:
    if config.data_dir:
        return given_path(config.data_dir)
    return downloads_to(config.cache_dir.expanduser()) / config.dataset.removeprefix(TORCHVISION)


def _is_downloaded(config: DataConfig) -> bool:
    root = _root(config)
    return any(path.is_file() for path in root.rglob("*"))


def _kind(name: str) -> Any:
    """The class of torchvision of this name."""
    from torchvision import datasets  # seconds to import

    known = {each: getattr(datasets, each) for each in datasets.__all__}
    fit = {
        each: kind for each, kind in known.items() if {"root", "download"} <= inspect.signature(kind).parameters.keys()
    }
    fit |= {each: known[each] for each in VARIANTS}
    if name not in fit:
        raise UnknownNameError("data set of torchvision", name, fit)
    return fit[name]


def _parts(kind: Any, name: str) -> list[dict[str, Any]]:
    """How the training and the test part are asked for; a single one where all is one part."""
    parameters, more = inspect.signature(kind).parameters, VARIANTS.get(name, {})
    if "train" in parameters or more:
        return [{"train": True, **more}, {"train": False, **more}]
    return [{"split": "train"}, {"split": "test"}] if "split" in parameters else [{}]


def _read(part: Any, dataset: str) -> tuple[list[NDArray[np.uint8]], list[int], tuple[str, ...]]:
    """Images (H, W) or (H, W, 3), their classes, and what these are called, if that is said."""
    images, labels = [], []
    for index in range(len(part)):
        image, label = part[index]
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not hasattr(image, "convert"):
            raise DataError(
                f"there must be images with one class each, but {dataset} has {type(image).__name__} with "
                f"{type(label).__name__}; make classes of them in a function of your own, as --dataset file.py:load"
            )
        images.append(np.asarray(image.convert(GREY if image.mode in ("1", GREY) else COLOUR)))
        labels.append(int(label))
    names = tuple(map(str, getattr(part, "classes", ())))
    return images, labels, names if names and len(names) > max(labels, default=0) else ()


TORCHVISION_SOURCE = Source(load=load, is_prepared=_is_downloaded, options=(TEST_SIZE,), takes_folder=True)

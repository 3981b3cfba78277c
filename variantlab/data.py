"""Data sets for a `Lab`: arrays in memory, and whatever the command line takes as `--dataset`."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import InputError
from pipeline.data.arrays import arrays
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.sources import SOURCES, find_source

__all__ = ["arrays", "csv", "load"]


def load(name: str, *, data_dir: str | Path = "", cache_dir: str | Path = "", **options: str) -> Labelled:
    """The samples of a data set by name: `sklearn:iris`, `torchvision:FashionMNIST`, `npz`, `folder` ...

    >>> load("sklearn:iris").x.shape
    (150, 4)

    Args:
        name: what the command line takes as `--dataset`.
        data_dir: folder of its files, where it is read from some.
        cache_dir: where downloads are kept; that of the command line if empty.
        options: what else the command line takes for it, with underscores: `data_file`, `target`, `features`, `group`,
            `impute`.
    """
    from pipeline.base.errors import UnknownNameError
    from variantlab.lab import cache_folder

    source = find_source(name)
    if source is None:
        raise UnknownNameError("dataset", name, SOURCES)
    config = DataConfig(dataset=name, data_dir=str(data_dir), options=options, cache_dir=cache_folder(cache_dir))
    source.check(config)
    found = source.load(config)
    if not isinstance(found, Labelled):
        raise InputError(f"samples are wanted that a Lab then splits, but {name} gives splits of its own")
    return found


def csv(
    data_file: str | Path, *, target: str, features: list[str] | None = None, group: str = "", impute: str = "refuse"
) -> Labelled:
    """A table from a CSV file, of which each row is a sample.

    Args:
        data_file: the file, with names of columns in its first line.
        target: column to predict.
        features: columns to predict it from; all others if left out. Text becomes a column for each category.
        group: column of which samples with the same value stay on the same side of every split.
        impute: `refuse` missing numbers, or fill in the `mean`, `median` or `most_frequent` of the training samples.
    """
    named = {"features": ",".join(features or []), "group": group, "impute": impute}
    return load("csv", data_file=str(data_file), target=target, **{name: text for name, text in named.items() if text})

"""Data sets by name, as the command line asks for them."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.sources import find_source


def load(dataset: str, cache_dir: Path, *, data_dir: Path | str = "", **options: object) -> Labelled:
    """The samples, after the options were checked."""
    told = {name: str(value) for name, value in options.items()}
    config = DataConfig(dataset=dataset, data_dir=str(data_dir), options=told, cache_dir=cache_dir)
    source = find_source(dataset)
    assert source is not None
    source.check(config)
    found = source.load(config)
    assert isinstance(found, Labelled)
    return found

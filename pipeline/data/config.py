"""Which data an experiment uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set by name, with what it is told."""

    dataset: str = "mnist5k"
    data_dir: str = ""
    """A folder of files, for data sets that are read from some."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """How it is prepared: option of its task -> value; what is left out has its default."""
    cache_dir: Path
    """Where downloads and prepared data are kept."""


@dataclass(frozen=True, kw_only=True)
class DataOption:
    """Something that data sets can be told on the command line, such as `--pooling max`."""

    name: str
    default: str
    choices: tuple[str, ...]
    help: str

    def of(self, config: DataConfig) -> str:
        """What it is told."""
        return config.options.get(self.name, self.default)

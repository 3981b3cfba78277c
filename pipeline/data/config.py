"""Which data an experiment uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.errors import UnknownNameError

if TYPE_CHECKING:  # with NumPy, which the options of the command line do without
    from pipeline.data.labelled import Labelled


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set by name, with what it is told."""

    dataset: str = "mnist5k"
    data_dir: str = ""
    """A folder of files, for data sets that are read from some."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """How it is read and prepared: option -> value; what is left out has its default."""
    cache_dir: Path
    """Where downloads and prepared data are kept."""
    given: Labelled | None = None
    """The samples themselves, where a program has them in memory."""
    task: str = ""
    """What is learned from it; empty for what it is made for, or what its target says."""
    metric: str = ""
    """What is searched and ranked by; empty for the first metric of the task."""

    @property
    def is_grouped(self) -> bool:
        """Whether samples are said to belong to groups, which splits and folds keep together."""
        return bool(self.options.get("group")) or (self.given is not None and self.given.group is not None)


@dataclass(frozen=True, kw_only=True)
class DataOption:
    """Something that data sets can be told on the command line, such as `--pooling max`."""

    name: str
    """With underscores; the command line has hyphens in their place."""
    default: str
    choices: tuple[str, ...] = ()
    """What it may be; empty for any text."""
    help: str

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name.replace('_', '-')}"

    def of(self, config: DataConfig) -> str:
        """What it is told."""
        return config.options.get(self.name, self.default)

    def check(self, value: str) -> None:
        """Raise UnknownNameError with the near misses unless it may be told this."""
        if self.choices and value not in self.choices:
            raise UnknownNameError(self.flag[2:], value, self.choices)

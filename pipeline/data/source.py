"""A data set that can be had by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.base.errors import InputError
from pipeline.data.config import DataConfig, DataOption
from pipeline.data.dataset import Splits
from pipeline.data.labelled import Labelled


def always_prepared(_config: DataConfig) -> bool:
    """Of a data set that is made in a moment."""
    return True


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a data set is had, and what it can be told."""

    load: Callable[[DataConfig], Splits | Labelled]
    """A task's own data set gives splits; any other one samples that a task then splits. Raises InputError or DataError
    when it cannot be had."""
    is_prepared: Callable[[DataConfig], bool] = always_prepared
    """Whether it need not be built or downloaded."""
    options: tuple[DataOption, ...] = ()
    """Those that it takes."""
    takes_folder: bool = False
    """Whether it is read from files in `--data-dir`."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """What is logged with it although it cannot be chosen: the names of studies depend on it."""

    samples: int = 0
    """Training samples of a round where nobody says how many; 0 for all."""

    def params(self, config: DataConfig) -> dict[str, str]:
        """What is logged of the data, besides its name."""
        return {**self.constants, **{option.name: option.of(config) for option in self.options}}

    def check(self, config: DataConfig) -> None:
        """Raise InputError, or UnknownNameError with the near misses, for what it does not take."""
        known = {option.name: option for option in self.options}
        for name, value in config.options.items():
            if name not in known:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"--dataset {config.dataset} takes no {flag}, but got {value!r}")
            known[name].check(value)
        if config.data_dir and not self.takes_folder:
            raise InputError(f"--dataset {config.dataset} takes no --data-dir, but got {config.data_dir!r}")

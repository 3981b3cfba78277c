"""What all stages share: their common settings, what they report while running, and what they return."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline.base.errors import InputError
from pipeline.base.stored import SAMPLES, TEST_SAMPLES
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.models.hyperparameters import Hyperparameters, Value
from pipeline.reports.layout import Part, fit
from pipeline.reports.tables import Table
from pipeline.tracking.port import Run, Tracker

if TYPE_CHECKING:  # importing torch takes a second, and some stages train nothing
    from pipeline.data.source import Source
    from pipeline.models.variant import Variant
    from pipeline.reports.statistics import Summary
    from pipeline.training.pool import Trainer

ROUNDS_OTHERWISE = (
    "other instructions and other versions of torch round otherwise, so the same training differs in its last decimals"
)
"""What is said where results were not all computed on the same kind of machine."""
ALL, SAME = "all", "same"
"""How 0 is said of training and of test samples."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What every stage that draws data is told."""

    data: DataConfig
    seed: int = 0
    """Root of every named draw."""
    samples: int = 1000
    """Training samples of a round; 0 for all that there are."""
    test_samples: int = 0
    """Test samples of a round; 0 for all, but of data sets whose rounds are draws for as many as train."""

    def __post_init__(self) -> None:
        for name, value in (("samples", self.samples), ("test-samples", self.test_samples)):
            if value < 0:
                raise InputError(f"a round needs at least 1 sample, but got --{name} {value}")

    @property
    def params(self) -> dict[str, str | int]:
        """As they are logged."""
        return {
            "dataset": self.data.dataset,
            **self._source.params(self.data),
            SAMPLES: self.samples or ALL,
            TEST_SAMPLES: self.test_samples or (SAME if self._source.samples else ALL),
            "seed": self.seed,
        }

    @property
    def _source(self) -> Source:
        from pipeline.tasks.subjects import find_dataset  # with torch, a second to import

        return find_dataset(self.data)[1]

    def train_count(self, splits: Splits) -> int:
        """How many a round has."""
        return self.samples or splits.train.samples

    def test_count(self, splits: Splits) -> int:
        """How many a round has."""
        most = splits.test.samples
        drawn = self._source.samples and self.samples
        return self.test_samples or (min(self.samples, most) if drawn else most)

    def fold_count(self, splits: Splits, folds: int) -> int:
        """How many of them are cross-validated: of all, as many as give folds of equal size, which pruning needs."""
        count = self.train_count(splits)
        return count if self.samples or not splits.train.even_folds or count < folds else count // folds * folds


class Progress(Protocol):
    """Long work under way."""

    def update(self, done: float, note: str = "") -> None:
        """So much is done of the total; `note` is shown beside it."""


class Reporter(Protocol):
    """The person who waits."""

    def say(self, line: str) -> None:
        """Tell one thing now."""

    def progress(self, label: str, total: float) -> AbstractContextManager[Progress]:
        """Show that long work is under way, with the time it will still take."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person is shown."""

    headline: str
    """One sentence that answers what the stage was asked."""
    table: Table
    more: Sequence[Table] = field(default_factory=tuple)
    """Tables that stand below it."""
    notes: Sequence[str] = field(default_factory=tuple)
    """What a careful reader should know besides."""

    def markdown(self) -> str:
        """Headline, table and notes."""
        tables = [table.markdown() for table in (self.table, *self.more)]
        return "\n".join([self.headline, "", *tables, *(f"- {note}" for note in self.notes)]).strip()

    @property
    def parts(self) -> list[Part]:
        """Headline, tables and notes for a terminal."""
        notes = ["\n".join(f"  {note}" for note in self.notes)] if self.notes else []
        return [self.headline, self.table, *self.more, *notes]

    def __str__(self) -> str:
        """As the command line shows it, for a terminal of this width."""
        return fit(self.parts, shutil.get_terminal_size((120, 24)).columns)

    def _repr_markdown_(self) -> str:
        """For notebooks."""
        return self.markdown()


@dataclass(frozen=True, kw_only=True)
class StageResult(Answer):
    """What a stage shows at its end."""

    run_id: str
    links: Mapping[str, str] = field(default_factory=dict)
    """What it rests on and what rests on it -> the address of its page, for the run's description."""

    @property
    def description(self) -> str:
        """The same with the links, as the run's description, of which people see the first lines."""
        links = ", ".join(f"[{name}]({address})" for name, address in self.links.items())
        rest = self.markdown().removeprefix(self.headline)
        return f"{self.headline}\n\nSee {links}.{rest}" if links else self.markdown()


def open_store(tracker: Tracker, reporter: Reporter, trials: int = 0) -> None:
    """Repair what an earlier death left in the store, and say so in one line with the `trials` of a study database."""
    runs = tracker.repair()
    left = [
        *([f"{runs} run(s) still open, which are now KILLED"] if runs else []),
        *([f"{trials} trial(s) still running, which now wait for their search to go on"] if trials else []),
    ]
    if left:
        reporter.say(f"processes that died had left {' and '.join(left)}")


def show_hyper(variant: Variant, hyper: Hyperparameters) -> str:
    """`lr=0.001 batch_size=25 epochs=25 alpha=1`, as short as it can be said: what is at its default is left out."""
    shown = variant.shown(hyper).items()
    return " ".join(f"{name}={show_value(value)}" for name, value in shown if value != variant.defaults.get(name))


def show_value(value: Value) -> str:
    """A hyperparameter's value, short."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:.4g}"


def show_others(summaries: Mapping[str, Summary]) -> str:
    """` (balanced error 12.10 ± 0.90 %)`: all metrics but the first one."""
    others = [f"{name.replace('_', ' ')} {summary.text()}" for name, summary in list(summaries.items())[1:]]
    return f" ({', '.join(others)})" if others else ""


def log_composition(run: Run, trainer: Trainer) -> None:
    """Keep which replicas trained beside which, and how: all that their last bits depend on."""
    run.text("chunks.json", json.dumps(trainer.composition(), indent=1))

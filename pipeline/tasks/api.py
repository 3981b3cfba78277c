"""What a task says of itself; everything above knows tasks by this alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.data.dataset import Samples, Splits
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.models.metrics import Metric
from pipeline.models.objectives import Objective
from pipeline.models.variant import Variant
from pipeline.reports.tables import Table
from pipeline.training.plan import Outcome, Replica

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A picture or a table to be kept with a run, under the name of a file without its suffix."""

    name: str
    content: Figure | Table


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """A table that every evaluation keeps, from which a comparison draws one picture of all variants."""

    name: str
    """Of the table, and of the picture's file."""
    picture: str
    title: str
    caption: str
    draw: Callable[[Mapping[str, str]], Figure]
    """From the CSV text of each variant that kept one."""


def nothing_kept(
    _variant: Variant, _splits: Splits, _replicas: Sequence[Replica], _outcomes: Sequence[Outcome]
) -> list[Kept]:
    """Of a task that shows nothing but errors and curves."""
    return []


def no_picture(_samples: Samples) -> Figure | None:
    """Of samples that cannot be shown."""
    return None


@dataclass(frozen=True, kw_only=True)
class Views:
    """How a task shows its data, and what models make of them."""

    composition: Callable[[Splits], Table]
    """What is in the two parts of a data set."""
    shares: Mapping[str, Callable[[Samples], float]] = field(default_factory=dict)
    """What is said of the samples of a round: what part of them is `inside`."""
    samples: Callable[[Samples], Figure | None] = no_picture
    """A picture of training samples."""
    errors: Callable[[Variant, Splits, Sequence[Replica], Sequence[Outcome]], list[Kept]] = nothing_kept
    """Where the predictions for test samples were wrong, over all rounds; outcomes have their `predictions`."""
    breakdown: Breakdown | None = None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a model that a person brings learns in a task."""

    title: str
    """In words: `names the class of a sample`."""
    learned: str
    """The same as it is logged: `Variant.task`."""
    objective: Objective
    outputs: int
    """How many numbers a network has to give for a sample."""
    classes: int = 0
    """Of the target; 0 where it is a value."""
    metrics: tuple[Metric, ...]
    """The first one is searched and ranked by, unless a person chooses another."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned: everything that is known of it stands in one folder or file of `pipeline.tasks`."""

    name: str
    datasets: Mapping[str, Source]
    """By `--dataset`."""
    variants: Sequence[Variant] = ()
    metrics: tuple[Metric, ...]
    """All that is measured; the first one is searched and ranked by."""
    factor_titles: Mapping[str, str] = field(default_factory=dict)
    """What factors are called in words, where their names do not say it."""
    views: Callable[[], Views]
    """Called when something is to be shown: what draws takes long to import, and most commands draw late or never."""
    example: str = ""
    """The variant in examples of commands; empty for the first one."""
    split: Callable[[Labelled, float], Splits] | None = None
    """Makes the two parts of samples that a general source gives; the number is the share of test samples, where the
    source does not say which they are. None where the task has data sets of its own alone."""
    terms: Callable[[Splits], Terms] | None = None
    """How models that people bring learn; None where they cannot."""

    def __post_init__(self) -> None:
        """Raise ValueError where variants cannot be compared with one another."""
        if self.metrics[0].direction != "minimize":
            raise ValueError(
                f"the first metric of a task is searched, and must be better the less it is, but that of {self.name} "
                f"is {self.metrics[0].name}; state it as an error, or put another one first"
            )
        for variant in self.variants:
            if variant.metric != self.metrics[0]:
                raise ValueError(f"{variant.name} must be ranked by {self.metrics[0].name}, as its task {self.name}")

"""What the reports print: reads `published/*.yaml`.

A file holds the tables of one paper, and each table what was measured, how, and what the report concludes from it:

    report: "007"
    title: Title of the report
    authors: Their names
    tables:
      table-2:
        title: Final results
        source: Table 2
        protocol: {stage: evaluate, rounds: 20}
        rows:
          - {label: Plain, model: mlp, test_error: [18.3, 3.3], parameters: 171538}
          - {label: Shared, model: mlp_ws, changes: epochs=50, epoch: 25, pooling: max, test_error: 14.9}
        pictures: [curves]
        claims:
          - {says: Sharing helps., where: Section 4, contrast: {Shared: 1, Plain: -1}, expected: lower}
        experiments:
          - {about: Plain, tries: ten times the epochs, changes: epochs=250}
        notes: [What the report leaves open.]

A figure is a number, or mean and standard deviation; shares are in percent. Rows and protocols may name options of the
data, such as `pooling`. An experiment is a row like
the one that it is about but for what it says, and stands beside the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Literal

from pipeline.base.errors import InputError
from pipeline.base.resources import resource_folder
from pipeline.data.config import DataConfig
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.metrics import SHARE, Unit
from pipeline.models.variant import Variant
from pipeline.stages.configurations import parse_changes
from pipeline.stages.reproducing.part import Part
from pipeline.tasks.registry import data_options, get_variant, tasks, variants
from pipeline.tasks.subjects import check_dataset, find_dataset
from pipeline.tuning.strict_yaml import read_yaml
from pipeline.tuning.trial_samplers import TRIAL_SAMPLERS

PUBLISHED = resource_folder("published")
BEST_EPOCH: Literal["best"] = "best"
OWN_BEST_EPOCH: Literal["best of each round"] = "best of each round"
Epoch = int | Literal["best", "best of each round"]
EXPECTED = ("lower", "higher", "equal")
PICTURES = ("loss_by_family", "curves", "box_plot", "error_by_epoch", "seconds")
OTHER_FIGURES = ("parameters", "seconds_per_epoch", "seconds", "lr", "batch_size", "alpha")
"""`seconds` are those of a whole training."""
STAGES = {"evaluate": ("rounds",), "cross_validate": ("rounds", "folds"), "search": ("rounds", "folds", "sampler")}
"""What a protocol says for each stage besides the data."""


@cache
def measured_figures() -> dict[str, Unit]:
    """What a row can print of the metrics of all tasks, and in which unit.

    `validation_error_of_all` are the wrong answers of a fold over the samples of all folds.
    """
    units = {metric.name: metric.unit for task in tasks().values() for metric in task.metrics}
    ends = {"train": ("", "_min", "_max"), "validation": ("", "_of_all"), "test": ("", "_min", "_max")}
    found = {f"{part}_{name}{end}": unit for part, each in ends.items() for name, unit in units.items() for end in each}
    return {"test_accuracy": SHARE, **found}


def figure_names() -> list[str]:
    """All that a row can print."""
    return [*measured_figures(), *OTHER_FIGURES]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A printed number, in the unit in which it is printed."""

    mean: float
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training of a table, or one epoch of it; rows with the same model and changes are one training."""

    label: str
    model: str
    changes: str = ""
    """What differs from the variant's preset, as `evaluate --changes` takes it."""
    epoch: Epoch | None = None
    """After which figures are read: this one, that with the least mean test error, each round's own best, or the last.

    """
    by: str = ""
    """The metric that says which epoch is a round's own best; empty for the first one."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """By name; empty where the report shows a picture, or a claim alone needs the row."""
    rounds: int | None = None
    """Of the report, where they are not those of the protocol."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Options of the data, where they are not those of the protocol."""
    draws: int = 0
    """Of test samples that the report's mean is over; 0 for a fresh one in every round."""
    trials: int = 0
    """Of a search on training samples that finds the configuration, in the place of the preset; 0 for none."""
    search_rounds: int = 1
    """Draws of samples in each of which that search cross-validates a trial: the more, the less is chance."""
    about: Row | None = None
    """Of an experiment, the row with the figures that it tries to come by."""
    tries: str = ""
    """Of an experiment, how it differs from that row."""

    @property
    def variant(self) -> Variant:
        """What is trained."""
        return get_variant(self.model)

    @property
    def hyper(self) -> Hyperparameters:
        """In which configuration."""
        return parse_changes(self.changes, self.variant.preset, self.variant)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A conclusion of a report that paired rounds can decide."""

    says: str
    where: str
    contrast: Mapping[str, float]
    """Weights of rows by label; they sum to 0."""
    expected: str
    """`lower`, `higher` or `equal`: how the weighted sum of errors compares with 0.

    The errors are test errors, or with folds validation errors.
    """


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a table is measured."""

    stage: str
    rounds: int
    folds: int | None = None
    sampler: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    """Options of the data."""
    dataset: str = ""
    """Empty for the one that the command is given."""


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table or figure of a report."""

    id: str
    """Report and table, such as `000/table-2`."""
    paper: str
    """Its title."""
    authors: str
    title: str
    source: str
    """Where it stands in the report."""
    protocol: Protocol
    rows: tuple[Row, ...]
    pictures: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    experiments: tuple[Row, ...] = ()
    """Rows that try what a differing figure can come from."""
    notes: tuple[str, ...] = ()
    """What the report leaves open, and how its figures are to be read."""


def load_published(folder: Path = PUBLISHED) -> dict[str, PublishedTable]:
    """All tables by id, in the order of their ids.

    Raises SpaceError, with file and line, for one that breaks a rule.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise InputError(f"the reports' figures are read from *.yaml files, but {folder} has none")
    tables = [table for path in paths for table in _read_report(path)]
    return {table.id: table for table in sorted(tables, key=lambda table: table.id)}


def _read_report(path: Path) -> list[PublishedTable]:
    part = Part(str(path), read_yaml(path), "a report").only({"report", "title", "authors", "tables"})
    report, title, authors = (part.text(key) for key in ("report", "title", "authors"))
    if report != path.stem:
        raise part.fail(f"the file of report {report} must be named {report}.yaml, but is {path.name}", "report")
    tables = part.part("tables", "tables")
    return [_table(tables.part(name, "a table"), f"{report}/{name}", title, authors) for name in tables.fields]


def _table(part: Part, name: str, paper: str, authors: str) -> PublishedTable:
    part.only({"title", "source", "protocol", "rows"}, {"pictures", "claims", "experiments", "notes"})
    protocol = _protocol(part.part("protocol", "a protocol"))
    rows: dict[str, Row] = {}
    for each in part.parts("rows", "a row"):
        _add(rows, _row(each, protocol), each)
    count = len(rows)
    for each in part.parts("experiments", "an experiment"):
        _add(rows, _experiment(each, dict(islice(rows.items(), count)), protocol), each)
    return PublishedTable(
        id=name,
        paper=paper,
        authors=authors,
        title=part.text("title"),
        source=part.text("source"),
        protocol=protocol,
        rows=tuple(rows.values())[:count],
        experiments=tuple(rows.values())[count:],
        pictures=tuple(part.known(item, "picture", PICTURES) for item in part.items("pictures")),
        claims=tuple(_claim(each, rows) for each in part.parts("claims", "a claim")),
        notes=tuple(part.text_of(item, "a note") for item in part.items("notes")),
    )


def _protocol(part: Part) -> Protocol:
    stage = part.choice("stage", STAGES)
    part.only({"stage", *STAGES[stage]}, {"dataset", *data_options()})
    dataset = part.choice("dataset", [name for task in tasks().values() for name in task.datasets], "")
    return Protocol(
        stage=stage,
        rounds=part.whole("rounds", 1),
        folds=part.whole("folds", 2) if "folds" in part.fields else None,
        sampler=part.choice("sampler", TRIAL_SAMPLERS, ""),
        data=_data(part, dataset),
        dataset=dataset,
    )


def _add(rows: dict[str, Row], row: Row, part: Part) -> None:
    if row.label in rows:
        raise part.fail(f"labels must differ within a table, but {row.label!r} stands twice")
    rows[row.label] = row


def _row(part: Part, protocol: Protocol) -> Row:
    part.only(
        {"label", "model"},
        {"changes", "epoch", "by", "rounds", "trials", "search_rounds", *data_options(), *figure_names()},
    )
    model = part.choice("model", variants())
    try:
        check_dataset(get_variant(model), _config(protocol.dataset))
    except InputError as error:
        raise part.fail(f"{error} in the protocol", "model") from None
    row = Row(
        label=part.text("label"),
        model=model,
        changes=part.text("changes", ""),
        epoch=_epoch(part),
        figures=_figures(part),
        rounds=part.whole("rounds", 1) if "rounds" in part.fields else None,
        data=_data(part, protocol.dataset),
        trials=part.whole("trials", 1) if "trials" in part.fields else 0,
        search_rounds=part.whole("search_rounds", 1) if "search_rounds" in part.fields else 1,
    )
    return _trained(part, replace(row, by=_by(part, row)))


def _experiment(part: Part, rows: Mapping[str, Row], protocol: Protocol) -> Row:
    part.only({"about", "tries"}, {"changes", "epoch", "by", "draws", *data_options(), *figure_names()})
    about = rows[part.known(part.fields["about"], "row", rows)]
    tries, changes = part.text("tries"), part.text("changes", "")
    names = [change.partition("=")[0] for change in changes.split()]
    kept = [change for change in about.changes.split() if change.partition("=")[0] not in names]
    row = replace(
        about,
        label=f"{about.label}, {tries}",
        changes=" ".join([*kept, *changes.split()]),
        epoch=_epoch(part) or about.epoch,
        figures=_figures(part)
        or {name: figure for name, figure in about.figures.items() if name in measured_figures()},
        data={**about.data, **_data(part, protocol.dataset)},
        draws=part.whole("draws", 1) if "draws" in part.fields else 0,
        about=about,
        tries=tries,
    )
    return _trained(part, replace(row, by=_by(part, row)))


def _trained(part: Part, row: Row) -> Row:
    """The row, if there is such a configuration with its epoch."""
    try:
        epochs = row.hyper.epochs
    except InputError as error:
        raise part.fail(str(error), "changes") from None
    if isinstance(row.epoch, int) and row.epoch > epochs:
        raise part.fail(f"an epoch must be at most the {epochs} that are trained, but got {row.epoch}", "epoch")
    return row


def _config(dataset: str) -> DataConfig:
    return DataConfig(dataset=dataset or DataConfig.dataset, cache_dir=Path())


def _data(part: Part, dataset: str) -> dict[str, str]:
    """The options of the data that it names."""
    _, source = find_dataset(_config(dataset))
    for name in data_options().keys() & part.fields.keys() - {option.name for option in source.options}:
        raise part.fail(f"the data set {dataset} takes no {name}", name)
    return {each.name: part.choice(each.name, each.choices) for each in source.options if each.name in part.fields}


def _by(part: Part, row: Row) -> str:
    """The metric that says which epoch is a round's own best."""
    if "by" not in part.fields:
        return row.by
    if row.epoch != OWN_BEST_EPOCH:
        raise part.fail(f"by is said of epoch: {OWN_BEST_EPOCH} alone", "by")
    return part.choice("by", [metric.name for metric in row.variant.metrics])


def _epoch(part: Part) -> Epoch | None:
    if "epoch" not in part.fields:
        return None
    for known in (BEST_EPOCH, OWN_BEST_EPOCH):
        if part.fields["epoch"].value == known:
            return known
    return part.whole("epoch", 1, f", {BEST_EPOCH}, or {OWN_BEST_EPOCH}")


def _figures(part: Part) -> dict[str, Figure]:
    return {name: _figure(part, name) for name in figure_names() if name in part.fields}


def _figure(part: Part, name: str) -> Figure:
    node = part.fields[name]
    numbers = [part.number(item, name) for item in (node.value if isinstance(node.value, list) else [node])]
    if len(numbers) not in (1, 2):
        raise part.fail(f"{name} must be a number, or mean and standard deviation, but got {len(numbers)} values", name)
    is_share = measured_figures().get(name) == SHARE
    if min(numbers) < 0 or (is_share and numbers[0] > 100):
        high = " and at most 100 %" if is_share else ""
        raise part.fail(f"{name} and its deviation must be at least 0{high}, but got {numbers}", name)
    return Figure(mean=numbers[0], std=numbers[1] if len(numbers) == 2 else None)


def _claim(part: Part, labels: Iterable[str]) -> Claim:
    part.only({"says", "where", "contrast", "expected"})
    contrast = part.part("contrast", "a contrast")
    contrast.names("row", labels)
    weights = {label: contrast.number(node, "a weight") for label, node in contrast.fields.items()}
    if not any(weights.values()) or not math.isclose(sum(weights.values()), 0, abs_tol=1e-9):
        raise contrast.fail(f"the weights of a contrast must sum to 0, some of them not 0, but got {weights}")
    says, where, expected = part.text("says"), part.text("where"), part.choice("expected", EXPECTED)
    return Claim(says=says, where=where, contrast=weights, expected=expected)

"""What the reports print, as it is read from `published/`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import InputError, SpaceError
from pipeline.stages.reproducing.published import (
    Claim,
    Figure,
    Protocol,
    PublishedTable,
    Row,
    load_published,
)
from pipeline.tasks.registry import variants

TABLES = {
    "000": ["figures", "table-1", "table-2"],
    "001": ["figure-1", "table-2", "table-3", "table-4"],
    "002": ["figure-1", "figure-2", "figure-3"],
    "003": ["figure-3", "table-1"],
    "004": ["aux", "disc", "table-dropout", "table-ws"],
    "best": ["disc", "families"],
}
READ_AS = {"validation_error_of_all": "validation_error", "train_digit_error": "train_error"}
"""What a figure can have been meant as -> what its report calls it."""
MISPRINT = ("linear_digits", 42_018)
"""Report 001's count of the parameters of 196-128-128-10."""
REPORT = """\
report: "007"
title: Wide networks
authors: A, B
tables:
  table-2:
    title: Final results
    source: Table 2
    protocol: {stage: evaluate, rounds: 3, pooling: max}
    rows:
      - {label: Plain, model: mlp, test_error: [18.3, 3], parameters: 171538}
      - {label: Early, model: mlp_ws, changes: epochs=50 lr=0.01, epoch: 25, test_accuracy: 85.1}
      - {label: Best, model: mlp_ws, changes: epochs=50 lr=0.01, epoch: best}
    pictures: [curves]
    claims:
      - {says: Sharing helps., where: Section 4, contrast: {Early: 1, Plain: -1}, expected: lower}
    experiments:
      - {about: Early, tries: "longer, pooled", changes: epochs=60 batch_size=10, pooling: average}
      - {about: Plain, tries: of all, epoch: 20, validation_error: [1.8, 0.2]}
    notes: [Left open.]
"""
OF_DIGITS = "mnist5k or mnist or idx"
EPOCHS = "epoch must be a whole number from 1 on, best, or best of each round"
PROTOCOL, PLAIN, EARLY, CLAIM = "rounds: 3, pooling: max", "model: mlp,", "epochs=50 lr=0.01, epoch: 25", "Plain: -1}"
SPOTS: list[tuple[str, str, str, float, float | None]] = [
    ("000/table-1", "ConvNet 25 epochs batch 100", "train_error", 5.96, 6.63),
    ("000/table-1", "ConvNet 50 epochs batch 100", "validation_error", 2.24, 0.65),
    ("000/table-1", "MLP 25 epochs batch 50", "train_error", 0.72, 2.08),
    ("000/table-2", "ConvNet", "test_error", 18, 4.99),
    ("000/table-2", "ConvNet_WS_AL", "test_error", 13.27, 1.16),
    ("000/table-2", "MLP_WS_AL", "train_error", 0.18, 0.71),
    ("000/table-2", "MLP_WS", "seconds_per_epoch", 0.29, None),
    ("001/table-2", "AlexNet", "train_error", 1.24, 0.76),
    ("001/table-2", "ResNet", "test_error", 2.085, 0.431),
    ("001/table-3", "Linear with dropout", "test_digit_error", 6.392, 0.765),
    ("001/table-4", "LeNet without auxiliary loss", "test_error", 2.39, 0.594),
    ("002/figure-1", "Simple CNN", "test_accuracy", 97.1, 0.05),
    ("002/figure-1", "WS AL", "test_accuracy", 86.9, 0.08),
    ("002/figure-2", "No WS", "test_accuracy", 82.3, 0.05),
    ("003/table-1", "AuxsiameseCNN", "lr", 0.005, None),
    ("003/table-1", "AuxResNet", "batch_size", 64, None),
    ("003/table-1", "AuxMLP", "alpha", 0.9, None),
    ("003/figure-3", "AuxCNN", "test_accuracy", 86.5, 1.1),
    ("003/figure-3", "AuxResNet", "seconds", 131.947, 4.006),
    ("004/table-dropout", "CNN epoch 5", "test_error", 25.79, None),
    ("004/table-dropout", "CNN epoch 80", "test_error_min", 13.8, None),
    ("004/table-ws", "Weight sharing epoch 6", "test_error", 12.77, 0.49),
    ("004/table-ws", "Legacy CNN epoch 10", "test_error_min", 15.5, None),
    ("004/aux", "Auxiliary loss epoch 35", "test_error_min", 13.1, None),
    ("004/disc", "Best model", "test_error", 2.51, 0.65),
    ("004/disc", "Best model", "train_error_max", 3.5, None),
]


def read(folder: Path, text: str = REPORT, name: str = "007") -> dict[str, PublishedTable]:
    (folder / f"{name}.yaml").write_text(text)
    return load_published(folder)


def row_of(table: str, label: str) -> Row:
    [row] = [row for row in load_published()[table].rows if row.label == label]
    return row


def printed_error(row: Row) -> float | None:
    """In percent; None where the report prints none."""
    if "test_accuracy" in row.figures:
        return 100 - row.figures["test_accuracy"].mean
    errors = [row.figures[name].mean for name in ("test_error", "validation_error") if name in row.figures]
    return errors[0] if errors else None


def test_every_table_is_there_in_the_order_of_its_id() -> None:
    tables = load_published()
    assert list(tables) == [f"{report}/{name}" for report, names in TABLES.items() for name in names]
    assert [table.id for table in tables.values()] == list(tables)
    assert len({(table.paper, table.authors) for table in tables.values()}) == len(TABLES)


def test_a_table_holds_variants_of_its_report_alone() -> None:
    for name, table in load_published().items():
        if not name.startswith("best"):
            assert {variants()[row.model].paper for row in (*table.rows, *table.experiments)} == {name[:3]}


def test_an_experiment_shows_figures_of_the_row_that_it_is_about_or_is_for_a_claim() -> None:
    tried = [(table, row) for table in load_published().values() for row in table.experiments]
    assert len(tried) > 50
    for table, row in tried:
        assert row.about is not None
        assert row.model == row.about.model
        assert row.figures or any(row.label in claim.contrast for claim in table.claims), row.label
        for name, figure in row.figures.items():
            assert figure == row.about.figures[READ_AS.get(name, name)], row.label


def test_the_best_of_a_family_is_searched_and_stands_beside_the_configuration_of_its_report() -> None:
    rows = [row for name, table in load_published().items() if name.startswith("best/") for row in table.rows]
    searched, presets = [row for row in rows if row.trials], [row for row in rows if not row.trials]
    assert all(row.figures for row in searched)
    assert [row.model for row in searched] == [row.model for row in presets]
    assert len({variants()[row.model].family for row in searched}) == len(searched)


def test_printed_sizes_are_those_of_the_variants_but_for_a_misprint() -> None:
    rows = [row for table in load_published().values() for row in table.rows if "parameters" in row.figures]
    wrong = [
        (row.model, row.figures["parameters"].mean)
        for row in rows
        if row.figures["parameters"] != Figure(mean=variants()[row.model].count(row.hyper.structure))
    ]
    assert len(rows) == 8 + 1 + 12
    assert wrong == [MISPRINT]


def test_what_report_003_chose_is_the_preset() -> None:
    for row in load_published()["003/table-1"].rows:
        preset = variants()[row.model].preset
        chosen = {name: figure.mean for name, figure in row.figures.items() if name != "parameters"}
        assert chosen.items() <= preset.as_dict().items()
        assert ("alpha" in chosen) == ("alpha" in variants()[row.model].objective.hyperparameters)


@pytest.mark.parametrize(("table", "label", "name", "mean", "std"), SPOTS, ids=[" ".join(spot[:3]) for spot in SPOTS])
def test_figures_are_the_printed_ones(table: str, label: str, name: str, mean: float, std: float | None) -> None:
    assert row_of(table, label).figures[name] == Figure(mean=mean, std=std)


def test_claims_agree_with_the_figures_that_are_printed_beside_them() -> None:
    decided = 0
    for table in load_published().values():
        errors = {row.label: printed_error(row) for row in (*table.rows, *table.experiments)}
        for claim in table.claims:
            parts = [(weight, errors[label]) for label, weight in claim.contrast.items()]
            if claim.expected == "equal" or any(error is None for _, error in parts):
                continue
            decided += 1
            difference = sum(weight * error for weight, error in parts if error is not None)
            assert (difference < 0) == (claim.expected == "lower"), claim.says
    assert decided > 30


def test_a_file_is_read_into_tables(tmp_path: Path) -> None:
    changed = Row(label="Early", model="mlp_ws", changes="epochs=50 lr=0.01", epoch=25)
    early = replace(changed, figures={"test_accuracy": Figure(mean=85.1)})
    plain = Row(
        label="Plain",
        model="mlp",
        figures={"test_error": Figure(mean=18.3, std=3.0), "parameters": Figure(mean=171538)},
    )
    assert read(tmp_path)["007/table-2"] == PublishedTable(
        id="007/table-2",
        paper="Wide networks",
        authors="A, B",
        title="Final results",
        source="Table 2",
        protocol=Protocol(stage="evaluate", rounds=3, data={"pooling": "max"}),
        rows=(
            plain,
            early,
            replace(changed, label="Best", epoch="best"),
        ),
        pictures=("curves",),
        claims=(Claim(says="Sharing helps.", where="Section 4", contrast={"Early": 1, "Plain": -1}, expected="lower"),),
        experiments=(
            Row(
                label="Early, longer, pooled",
                model="mlp_ws",
                changes="lr=0.01 epochs=60 batch_size=10",
                epoch=25,
                figures={"test_accuracy": Figure(mean=85.1)},
                data={"pooling": "average"},
                about=early,
                tries="longer, pooled",
            ),
            Row(
                label="Plain, of all",
                model="mlp",
                epoch=20,
                figures={"validation_error": Figure(mean=1.8, std=0.2)},
                about=plain,
                tries="of all",
            ),
        ),
        notes=("Left open.",),
    )
    assert (changed.hyper.epochs, changed.hyper.lr) == (50, 0.01)


@given(names=st.permutations(["table-1", "table-10", "table-2", "aux", "figure-3"]))
def test_tables_are_in_the_order_of_their_ids_wherever_they_stand(
    tmp_path_factory: pytest.TempPathFactory, names: Sequence[str]
) -> None:
    head, table = REPORT.split("  table-2:\n")
    tables = read(tmp_path_factory.mktemp("published"), head + "".join(f"  {name}:\n{table}" for name in names))
    assert list(tables) == sorted(f"007/{name}" for name in names)


@pytest.mark.parametrize(
    ("old", "new", "line", "rule"),
    [
        ('"007"', "007", 1, "report must be text, but got 7 (a whole number); quote it if it is"),
        ('"007"', '"008"', 1, "the file of report 008 must be named 008.yaml, but is 007.yaml"),
        ("title: Wide", "titel: Wide", 2, "unknown key 'titel'; did you mean title?"),
        ("authors: A, B\n", "", 1, "a report needs authors"),
        ("authors: A, B", "authors: ''", 3, "authors must be text, but got '' (text)"),
        ("rounds: 3", "rounds: 0", 8, "rounds must be a whole number from 1 on, but got 0"),
        ("rounds: 3", "rounds: true", 8, "rounds must be a whole number from 1 on, but got True"),
        ("rounds: 3, ", "", 8, "a protocol needs rounds"),
        ("stage: evaluate, ", "", 8, "a protocol needs stage"),
        ("stage: evaluate", "stage: evaluat", 8, "unknown stage 'evaluat'; did you mean evaluate?"),
        ("stage: evaluate", "stage: compare", 8, "unknown stage 'compare'"),
        ("stage: evaluate", "stage: search", 8, "a protocol needs folds, sampler"),
        (PROTOCOL, "rounds: 3, folds: 5", 8, "unknown key 'folds'; choose from:"),
        ("stage: evaluate, rounds: 3", "stage: cross_validate, rounds: 3, folds: 1", 8, "folds must be a whole number"),
        (f"evaluate, {PROTOCOL}", "search, rounds: 3, folds: 5, sampler: tep", 8, "unknown sampler 'tep'; did you"),
        ("pooling: max", "pooling: mix", 8, "unknown pooling 'mix'; did you mean max?"),
        ("pooling: max", "dataset: mnits", 8, "unknown dataset 'mnits'; did you mean mnist"),
        (
            "pooling: max",
            "dataset: disc",
            10,
            f"mlp learns from {OF_DIGITS}, so use --dataset {OF_DIGITS}, but got --dataset disc in the protocol",
        ),
        (
            PLAIN,
            "model: disc_mlp,",
            10,
            "disc_mlp learns from disc, so use --dataset disc, but got --dataset mnist5k in",
        ),
        (PLAIN, "model: mpl,", 10, "unknown model 'mpl'; did you mean mlp"),
        (PLAIN, "model: 5,", 10, "a model must be text, but got 5 (a whole number)"),
        ("label: Plain, ", "", 10, "a row needs label"),
        ("label: Early", "label: Plain", 11, "labels must differ within a table, but 'Plain' stands twice"),
        ("test_error:", "test_eror:", 10, "unknown key 'test_eror'; did you mean test_error"),
        ("[18.3, 3]", "[18.3, 3, 1]", 10, "test_error must be a number, or mean and standard deviation, but got 3"),
        ("[18.3, 3]", "[]", 10, "but got 0 values"),
        ("[18.3, 3]", "[18.3, -3]", 10, "test_error and its deviation must be at least 0 and at most 100 %, but got"),
        ("[18.3, 3]", "1830", 10, "at most 100 %, but got [1830.0]"),
        ("[18.3, 3]", "1e999", 10, "test_error must be a finite number, but got inf"),
        ("171538", "-1", 10, "parameters and its deviation must be at least 0, but got [-1.0]"),
        ("171538", "171,538", 10, "keys must be text, but got a whole number"),
        ("171538", "many", 10, "parameters must be a finite number, but got 'many' (text)"),
        ("171538", "true", 10, "parameters must be a finite number, but got True (true or false)"),
        (EARLY, "epochs=50 lrr=1, epoch: 25", 11, "unknown hyperparameter 'lrr'; did you mean lr?"),
        (EARLY, "epochs=50 alpha=1, epoch: 25", 11, "alpha weighs an auxiliary loss, but mlp_ws has none"),
        (EARLY, "epochs=20, epoch: 25", 11, "an epoch must be at most the 20 that are trained, but got 25"),
        (
            EARLY,
            "epochs=50, epoch: 0",
            11,
            "epoch must be a whole number from 1 on, best, or best of each round, but got 0",
        ),
        (
            "epoch: best",
            "epoch: last",
            12,
            "epoch must be a whole number from 1 on, best, or best of each round, but got 'last'",
        ),
        ("[curves]", "[curve]", 13, "unknown picture 'curve'; did you mean curves?"),
        ("[curves]", "curves", 13, "pictures must be a list of at least one, but got text"),
        (CLAIM, "Plane: -1}", 15, "unknown row 'Plane'; did you mean Plain?"),
        (CLAIM, "Plain: -2}", 15, "the weights of a contrast must sum to 0, some of them not 0, but got"),
        ("{Early: 1, Plain: -1}", "{Early: 0}", 15, "some of them not 0, but got {'Early': 0.0}"),
        (CLAIM, "Plain: less}", 15, "a weight must be a finite number, but got 'less' (text)"),
        ("{Early: 1, Plain: -1}", "{}", 15, "a contrast must be a mapping that is not empty"),
        ("expected: lower", "expected: less", 15, "unknown expected 'less'; choose from: lower, higher, equal"),
        ("where: Section 4, ", "", 15, "a claim needs where"),
        ("about: Early", "about: Earlier", 17, "unknown row 'Earlier'; did you mean Early?"),
        ("about: Early", "about: 'Plain, of all'", 17, "unknown row 'Plain, of all'"),
        ('tries: "longer, pooled", ', "", 17, "an experiment needs tries"),
        ("tries: of all", "tries: of all, model: mlp", 18, "unknown key 'model'"),
        (
            "about: Plain, tries: of all",
            'about: Early, tries: "longer, pooled"',
            18,
            "'Early, longer, pooled' stands twice",
        ),
        ("epochs=60", "epochs=20", 17, "an epoch must be at most the 20 that are trained, but got 25"),
        ("epochs=60", "epoch=60", 17, "unknown hyperparameter 'epoch'"),
        ("[Left open.]", "[5]", 19, "a note must be text, but got 5 (a whole number)"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, rule: str
) -> None:
    assert REPORT.count(old) == 1
    with pytest.raises(SpaceError, match=re.escape(f"007.yaml:{line}: ") + ".*" + re.escape(rule)):
        read(tmp_path, REPORT.replace(old, new))


def test_a_folder_without_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"read from \*\.yaml files, but .* has none"):
        load_published(tmp_path)

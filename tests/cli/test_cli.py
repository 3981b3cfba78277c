"""The command line in this process, in an empty folder."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import variantlab
from pipeline.cli import main
from pipeline.cli.options import Duration
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.variant import Variant
from pipeline.stages import spaces
from pipeline.stages.reproducing.published import Row, load_published
from pipeline.tasks.registry import task_of, variants
from pipeline.tuning.pruning import PRUNERS
from pipeline.tuning.samplers import SAMPLERS
from pipeline.tuning.space_file import SPACES, family_space
from tests.idx_files import write_idx_folder

STAGES = ("prepare", "cross_validate", "search", "evaluate", "compare", "reproduce", "main")
COMMANDS = (*STAGES, "models", "plan", "spaces")
HEAVY = ("torch", "torchvision", "mlflow", "optuna", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "sqlalchemy")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_runs: Path) -> Path:
    """A working folder with stores of its own, empty."""
    shutil.copy(empty_runs, tmp_path / "mlflow.db")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("VARIANTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="variantlab")


def runs_in(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return [name for (name,) in connection.execute("select name from runs")]


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    shown, imported = in_fresh_process(arguments)
    assert "Usage:" in shown
    assert imported == []


def test_runs_are_listed_without_what_trains_or_draws(folder: Path) -> None:
    shown, imported = in_fresh_process(["runs"])
    assert "No run fits." in shown
    assert not {"torch", "optuna", "sklearn", "matplotlib"} & set(imported)
    assert "mlflow" in imported


def in_fresh_process(arguments: list[str]) -> tuple[str, list[str]]:
    """What a command shows, and which of `HEAVY` it has imported."""
    script = (
        "import sys\nfrom pipeline.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"import json\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str) -> None:
    for option in main.commands[command].params:
        if isinstance(option, click.Option):
            assert option.help, f"--{option.name} of {command} has no help"


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("cross_validate", ["--select", "--samples", "--test-samples"]),
        ("search", ["--select", "--screen-samples", "--keep", "--samples", "--test-samples"]),
        ("search", ["--sampler", *SAMPLERS, "grid", "two-step", "screen", "--trade-off"]),
        ("search", ["--pruner", *PRUNERS, "--reuse", "--recheck", "--budget", "--timeout", "--artifacts"]),
        ("evaluate", ["--changes", "--test-samples"]),
        ("compare", ["--contrast", "--allow-unequal"]),
        ("reproduce", ["TABLES...", "000/table-2", "--rounds", "--scale", "quick", "--storage", "--output"]),
        ("reproduce", ["--dataset", "mnist", "--seed", "--workers", "--dry-run"]),
        ("models", ["NAME"]),
    ],
)
def test_help_names_what_can_be_chosen(command: str, names: list[str]) -> None:
    shown = invoke(command, "--help").stdout
    assert [name for name in names if name not in shown] == []


SCREEN = ["search", "--model", "linear_digits", "--sampler", "screen"]
BAD: Sequence[tuple[str, list[str], str]] = [
    ("command", ["serch"], "Did you mean 'search'?"),
    ("option", ["compare", "--modles", "mlp"], "Did you mean '--models'?"),
    ("missing", ["search"], "Missing option '--model'"),
    ("model", ["search", "--model", "mlp_ws_all"], "unknown model 'mlp_ws_all'; did you mean mlp_ws_al"),
    ("number", ["search", "--model", "mlp", "--n-trials", "many"], "'many' is not a valid integer"),
    ("trials", ["search", "--model", "mlp", "--n-trials", "0"], "--n-trials must be between 1 and"),
    (
        "space",
        ["search", "--model", "mlp", "--space", "no.yaml"],
        "unknown search space 'no.yaml'; choose from: search_spaces/alexnet_digits.yaml",
    ),
    ("study storage", ["search", "--model", "mlp", "--storage", "sqlite:////dev/null/x.db"], "--storage must be"),
    ("sampler", ["search", "--model", "mlp", "--sampler", "two_step"], "unknown sampler 'two_step'; did you mean two-"),
    ("strategy", ["search", "--model", "mlp", "--strategy", "tpe"], "No such option '--strategy'"),
    ("pruner", ["search", "--model", "mlp", "--pruner", "hyperbrand"], "did you mean hyperband?"),
    ("trade-off", ["search", "--model", "mlp", "--sampler", "nsga2", "--trade-off", "tim"], "did you mean time?"),
    ("one objective", ["search", "--model", "mlp", "--trade-off", "time"], "only nsga2 minimises two things"),
    ("reuse", ["search", "--model", "mlp", "--reuse", "stores"], "did you mean storage?"),
    ("recheck", ["search", "--model", "mlp", "--recheck", "-1"], "--recheck must be between 0 and"),
    ("budget", ["search", "--model", "mlp", "--budget", "soon"], "a time such as 90s, 10m or 1h30m, or 0 for no limit"),
    ("timeout", ["search", "--model", "mlp", "--timeout", "-5"], "but got '-5'"),
    ("artifacts", ["search", "--model", "mlp", "--artifacts", "/dev/null/x"], "--artifacts must be a folder that can"),
    ("stage", ["plan", "serch", "--model", "mlp"], "unknown stage 'serch'; did you mean search?"),
    ("not planned", ["plan", "models"], "unknown stage 'models'; "),
    ("planned badly", ["plan", "search", "--model", "mlp", "--folds", "7"], "1000 samples do not divide into 7"),
    ("planned option", ["plan", "search", "--modle", "mlp"], "No such option '--modle'. "),
    ("spaces", ["spaces", "chek"], "Did you mean 'check'?"),
    ("no space", ["spaces", "check", "no.yaml"], "no.yaml"),
    (
        "select",
        ["search", "--model", "mlp", "--select", "best"],
        "unknown selection 'best'; choose from: mean, mean+std",
    ),
    ("selection", ["cross_validate", "--model", "mlp", "--select", "mean+sd"], "did you mean mean+std"),
    ("screen", [*SCREEN, "--screen-samples", "1001"], "but got --screen-samples 1001 and --train-size 1000"),
    ("screen folds", [*SCREEN, "--screen-pairs", "4"], "number of folds must lie between 2 and the 4 samples"),
    ("keep", [*SCREEN, "--keep", "0"], "--keep must be between 1 and"),
    ("screen space", ["search", "--model", "mlp", "--sampler", "screen"], "there is no space to screen mlp over"),
    ("folds", ["cross_validate", "--model", "mlp", "--folds", "1"], "number of folds must lie between 2 and the 1000"),
    ("grid", ["cross_validate", "--model", "mlp", "--grid", "epoch=3"], "did you mean epochs?"),
    ("switch", ["cross_validate", "--model", "mlp", "--grid", "batch_norm=maybe"], "batch_norm must be on or off"),
    ("changes", ["evaluate", "--model", "mlp", "--changes", "optimser=sgd"], "did you mean optimiser"),
    ("points", ["evaluate", "--model", "disc_mlp"], "disc_mlp learns from disc, so use --dataset disc"),
    ("digits", ["search", "--model", "mlp", "--dataset", "disc"], "mlp learns from mnist5k or mnist or idx, so use"),
    ("models", ["models", "mlp_wss"], "unknown model 'mlp_wss'; did you mean mlp_ws"),
    ("rounds", ["evaluate", "--model", "mlp", "--rounds", "0"], "--rounds must be between 1 and"),
    ("preset", ["evaluate", "--model", "mlp", "--preset", "reports"], "did you mean report?"),
    ("no search", ["evaluate", "--model", "mlp"], "run search first, or choose --preset report"),
    ("run", ["evaluate", "--model", "mlp", "--from-run", "abc"], "there is no run 'abc'"),
    ("dataset", ["prepare", "--dataset", "mnist6k"], "unknown dataset 'mnist6k'; did you mean mnist5k"),
    ("idx", ["prepare", "--dataset", "idx"], "--dataset idx needs --data-dir"),
    ("data dir", ["prepare", "--dataset", "idx", "--data-dir", "."], "has no train-images-idx3-ubyte"),
    ("pooling", ["prepare", "--pooling", "mean"], "unknown pooling 'mean'"),
    ("samples", ["prepare", "--samples", "1251"], "ask for at most --train-size 1250"),
    ("no samples", ["prepare", "--samples", "-1"], "must be all, auto or a number of at least 1, but got '-1'"),
    ("no samples at all", ["prepare", "--samples", "0"], "must be all, auto or a number of at least 1, but got '0'"),
    ("word", ["prepare", "--samples", "some"], "must be all, auto or a number of at least 1, but got 'some'"),
    ("test pairs", ["prepare", "--test-pairs", "1251"], "ask for at most --test-samples 1250"),
    ("test word", ["evaluate", "--model", "mlp", "--test-samples", "all"], "must be same or a number of at least 1"),
    ("seed", ["prepare", "--seed", "-1"], "-1 is not in the range"),
    ("workers", ["evaluate", "--model", "mlp", "--workers", "none"], "must be auto or a number from 1 to 256"),
    ("device", ["evaluate", "--model", "mlp", "--device", "cuda0"], "unknown device 'cuda0'; did you mean cuda?"),
    ("precision", ["search", "--model", "mlp", "--precision", "float16"], "did you mean bfloat16"),
    ("compile", ["main", "--model", "mlp", "--compile", "yes"], "unknown compile 'yes'; choose from: auto, off, on"),
    ("chunk", ["evaluate", "--model", "mlp", "--chunk", "-1"], "--chunk must be between 0 and"),
    ("chunk text", ["evaluate", "--model", "mlp", "--chunk", "auto"], "'auto' is not a valid integer"),
    ("patience", ["cross_validate", "--model", "mlp", "--patience", "-1"], "--patience must be 0 (never stop early)"),
    ("grid name", ["cross_validate", "--model", "mlp", "--grid", "optimiser=adm"], "did you mean adam"),
    ("cache", ["prepare", "--cache-dir", "/dev/null/x"], "--cache-dir must be a folder that can be written"),
    ("no evaluation", ["compare"], "run evaluate first"),
    (
        "experiment",
        ["compare", "--experiment", "model varients"],
        "unknown experiment 'model varients'; did you mean model variants?",
    ),
    ("unequal", ["compare", "--allow-unequal", "perhaps"], "'perhaps' is not a valid boolean"),
    ("unequal alone", ["compare", "--allow-unequal"], "run evaluate first"),
    ("unequal said", ["compare", "--allow-unequal=True"], "run evaluate first"),
    ("no table", ["reproduce"], "Missing argument 'TABLES...'"),
    ("table", ["reproduce", "000/tabel-2"], "unknown table '000/tabel-2'; did you mean 000/table-2"),
    ("second table", ["reproduce", "004/disc", "aux"], "unknown table 'aux'"),
    ("table after a comma", ["reproduce", "004/disc,004/aus"], "unknown table '004/aus'; did you mean 004/aux"),
    ("planned table", ["plan", "reproduce", "000/tabel-2"], "did you mean 000/table-2"),
    ("scale", ["reproduce", "004/disc", "--scale", "quik"], "unknown scale 'quik'; did you mean quick?"),
    ("rounds of a table", ["reproduce", "004/disc", "--rounds", "-1"], "--rounds must be between 0 (the report's) and"),
    (
        "output",
        ["reproduce", "004/disc", "--output", "no/x.md"],
        "--output must be a file that can be written in a folder that exists, but",
    ),
    ("samples of a table", ["reproduce", "004/disc", "--samples", "40"], "No such option '--samples'"),
    ("main", ["main", "--model", "mlp", "--pairs", "5000"], "ask for at most --train-size 1250"),
]


@pytest.mark.parametrize(("arguments", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_gets_one_clear_sentence_and_leaves_no_run(folder: Path, arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    [line] = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: ")
    assert message in line
    assert runs_in(folder) == []


MALFORMED = {
    "a list": ("- lr\n", "space.yaml:1: a search space must be a mapping"),
    "twice": ("lr: {type: float, low: 1, high: 2}\nlr: {type: float, low: 1, high: 2}\n", "space.yaml:2: the key 'lr'"),
    "near miss": ("lr: {type: float, lo: 1e-4, high: 1}\n", "space.yaml:1: lr: unknown key 'lo'; did you mean low"),
    "broken": ("lr: {type: float\n", "space.yaml:"),
    "name": ("optimiser: {type: choice, values: [adam, sdg]}\n", "space.yaml:1: unknown optimiser 'sdg'; did you mean"),
    "names": ("schedule: {type: int, low: 1, high: 2}\n", "space.yaml:1: schedule: takes names; use type: choice"),
    "alias": ("lr: &a {type: float, low: 1e-4, high: 1}\nalpha: *a\n", "space.yaml:2: aliases"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_space_is_explained_with_its_line(folder: Path, text: str, message: str) -> None:
    (folder / "space.yaml").write_text(text)
    result = invoke("search", "--model", "mlp_ws_al", "--space", "space.yaml")
    assert result.exit_code == 2
    assert message in result.stderr
    assert runs_in(folder) == []


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_checked_space_is_explained_in_one_line(folder: Path, text: str, message: str) -> None:
    (folder / "space.yaml").write_text(text)
    result = invoke("spaces", "check", "space.yaml", "--model", "mlp_ws_al")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert result.stdout == ""


def test_all_search_spaces_are_checked(folder: Path) -> None:
    result = invoke("spaces", "check")
    assert result.exit_code == 0, result.output
    checked = [line.split(":")[0] for line in result.stdout.splitlines()]
    assert checked == [str(path.relative_to(SPACES)) for path in sorted(SPACES.rglob("*.yaml"))]
    assert all(": correct for " in line for line in result.stdout.splitlines())
    assert runs_in(folder) == []


def test_a_bad_space_is_refused_before_a_tracking_store_is_made(folder: Path) -> None:
    (folder / "mlflow.db").unlink()
    assert invoke("search", "--model", "mlp", "--space", "no.yaml").exit_code == 2
    assert list(folder.iterdir()) == []


def test_no_search_space_at_all_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "SPACES", folder / "search_spaces")
    result = invoke("spaces", "check")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: the search spaces are *.yaml files, but {folder}/search_spaces has none; install variantlab again\n"
    )


@pytest.mark.parametrize("name", ["search_spaces/reports/000_table_1.yaml", "reports/000_table_1.yaml"])
def test_a_space_that_comes_with_the_code_is_found_from_anywhere_unless_there_is_one_here(
    folder: Path, name: str
) -> None:
    result = invoke("spaces", "check", name, "--model", "mlp")
    assert result.stdout.startswith(f"{SPACES / 'reports' / '000_table_1.yaml'}: correct for mlp\n")
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(SPACE)
    assert invoke("spaces", "check", name, "--model", "mlp").stdout.startswith(f"{name}: correct for mlp\n")


@pytest.mark.parametrize("name", ["search_spaces/mlp_ws_al.yaml", "mlp_ws_al.yaml"])
def test_the_space_of_a_family_is_found_by_the_name_of_each_of_its_variants(folder: Path, name: str) -> None:
    result = invoke("spaces", "check", name, "--model", "mlp_ws_al")
    assert result.stdout.startswith(f"{SPACES / 'mlp.yaml'}: correct for mlp_ws_al\n")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(SPACE)
    assert invoke("spaces", "check", name).stdout.startswith(f"{name}: correct for mlp_ws_al\n")


@pytest.mark.parametrize("name", ["../pyproject.toml", "reports", "search_spaces", ""])
def test_what_is_no_space_is_not_looked_for_among_those_of_the_code(folder: Path, name: str) -> None:
    result = invoke("search", "--model", "mlp", "--space", name or "search_spaces/")
    assert result.exit_code == 2
    assert "unknown search space" in result.stderr


def test_windows_is_refused_in_one_line_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    result = invoke("prepare")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: variantlab runs on Linux and macOS")
    assert result.output.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    assert runs_in(folder) == []


def test_the_version_needs_no_installation() -> None:
    assert invoke("--version").stdout == f"variantlab, version {variantlab.__version__}\n"


SPACE = """
lr: {type: float, low: 1e-4, high: 1e-2, log: true}
optimiser: {type: choice, values: [adam, sgd]}
momentum: {type: float, low: 0.5, high: 0.9, step: 0.1, default: 0.9, when: {optimiser: sgd}}
constraints: ["batch_size * lr <= 0.25"]
"""


@pytest.mark.parametrize(
    ("name", "text", "arguments", "models"),
    [
        ("mlp_ws.yaml", SPACE, [], "mlp_ws"),
        ("mine.yaml", SPACE, ["--model", "mlp"], "mlp"),
        ("mine.yaml", SPACE + "models: [mlp, mlp_al]\n", [], "mlp, mlp_al"),
    ],
    ids=["by its name", "as told", "by its list"],
)
def test_a_space_is_described_for_the_models_that_it_is_for(
    folder: Path, name: str, text: str, arguments: list[str], models: str
) -> None:
    (folder / name).write_text(text)
    result = invoke("spaces", "check", name, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{name}: correct for {models}",
        "  lr: 0.0001 to 0.01, any number in it; first 0.001",
        "  optimiser: adam to sgd, 2 values; first adam",
        "  momentum: 0.5 to 0.9, 5 values, where optimiser is sgd",
        "  always batch_size * lr <= 0.25",
    ]


def test_constants_of_a_space_are_shown_as_such(folder: Path) -> None:
    text = (
        "lr: {type: float, low: 0.01, high: 0.01, log: true}\n"
        "optimiser: {type: choice, values: [adam, sgd]}\n"
        "momentum: {type: float, low: 0.5, high: 0.5, when: {optimiser: sgd}}\n"
        "inputs: {type: choice, values: [unit]}\n"
    )
    (folder / "mine.yaml").write_text(text)
    result = invoke("spaces", "check", "mine.yaml", "--model", "mlp")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "  lr: always 0.01",
        "  optimiser: adam to sgd, 2 values; first adam",
        "  momentum: always 0.5, where optimiser is sgd",
        "  inputs: always unit",
    ]


def test_a_space_that_names_no_model_is_checked_for_one_that_is_given(folder: Path) -> None:
    (folder / "mine.yaml").write_text(SPACE)
    result = invoke("spaces", "check", "mine.yaml")
    assert result.exit_code == 2
    assert "mine.yaml names none; give one with --model" in result.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90s", 90),
        ("90", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h", 3600),
        ("1.5h", 5400),
        ("2m0.5s", 120.5),
        (" 5s ", 5),
        (7.5, 7.5),
    ],
)
def test_a_duration_is_read_in_seconds(text: str | float, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "-1", "1d", "10 m", "30m1h", "1h 30m", "1e3", "nan", "inf", "m", "9" * 21]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="must be a time such as 90s, 10m or 1h30m, or 0"):
        Duration().convert(text, None, None)


SMALL = ["search", "--model", "mlp", "--samples=20", "--folds=2", "--n-trials=1", "--recheck=0", "--workers=1"]
PLANNED: dict[str, tuple[list[str], str]] = {
    "dry run": (["prepare", "--dry-run"], "Would train nothing"),
    "plan": (["plan", "prepare"], "Would train nothing"),
    "plan of training": (["plan", *SMALL], "Would train 50 replica-epochs, in about "),
}


@pytest.mark.parametrize(("arguments", "headline"), PLANNED.values(), ids=PLANNED.keys())
def test_a_plan_says_what_would_be_done_and_leaves_nothing(folder: Path, arguments: list[str], headline: str) -> None:
    before = {path.name for path in folder.iterdir()}
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.lstrip().startswith(headline)
    assert "variantlab ui" not in result.stdout  # there is nothing to look at
    assert {path.name for path in folder.iterdir()} - before <= {"cache"}
    assert runs_in(folder) == []


def test_every_stage_can_be_planned() -> None:
    for command in STAGES:
        assert "--dry-run" in invoke("plan", command, "--help").stdout


def trainings(name: str) -> list[Row]:
    """The first row of each configuration of a published table."""
    table, first = load_published()[name], dict[Hyperparameters, Row]()
    for row in (*table.rows, *table.experiments):
        first.setdefault(row.hyper.canonical, row)
    return list(first.values())


@pytest.mark.parametrize("tables", [["001/table-4", "001/table-3:2"], ["001/table-4,001/table-3:2"]], ids=str)
def test_the_plan_of_tables_lists_their_trainings(folder: Path, tables: list[str]) -> None:
    result = invoke("plan", "reproduce", *tables, "--rounds", "1", "--dataset", "mnist5k", "--workers", "1")
    assert result.exit_code == 0, result.output
    wanted = [
        (name, row, rounds) for name, rounds in (("001/table-4", 1), ("001/table-3", 2)) for row in trainings(name)
    ]
    epochs = sum(rounds * row.hyper.epochs for _, row, rounds in wanted)
    assert result.stdout.lstrip().startswith(f"Would train {epochs} replica-epochs, ")
    rows = [line.strip("|").split("|")[:2] for line in result.stdout.splitlines() if line.startswith("| 0")]
    assert [tuple(cell.strip() for cell in row) for row in rows] == [
        (f"{name}: {row.label}", f"{rounds} rounds") for name, row, rounds in wanted
    ]
    assert runs_in(folder) == []


def test_the_quick_scale_plans_three_rounds_at_most(folder: Path) -> None:
    result = invoke("plan", "reproduce", "004/disc", "--scale", "quick", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "| 3 rounds " in result.stdout
    assert runs_in(folder) == []


def test_variants_that_were_measured_otherwise_are_compared_if_they_may(folder: Path) -> None:
    for model, rounds in (("mlp", "2"), ("mlp_ws", "3")):
        short = ("--preset", "report", "--changes", "epochs=1", "--samples", "20", "--workers", "1")
        evaluated = invoke("evaluate", "--model", model, "--rounds", rounds, *short)
        assert evaluated.exit_code == 0, evaluated.output
    runs = runs_in(folder)
    for options, message in (
        ([], "--allow-unequal"),
        (["--allow-unequal", "false"], "rounds differ"),
        (["--allow-unequal=true", "--contrast", "bad"], "two variants as first:second, but got 'bad'"),
        (["--allow-unequal", "--contrast", "mlp:mlp_ws,mlp:"], "but got 'mlp:'"),
    ):
        refused = invoke("compare", *options)
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert runs_in(folder) == runs
    for options in (["--allow-unequal"], ["--allow-unequal", "true", "--models", "all"]):
        ranked = invoke("compare", *options)
        assert ranked.exit_code == 0, ranked.output
        assert "| mlp_ws " in ranked.stdout


def test_an_unwritable_tracking_store_is_one_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{os.devnull}/mlflow.db")
    result = invoke("prepare")
    assert result.exit_code == 2
    assert "MLFLOW_TRACKING_URI must name a tracking store" in result.stderr


def test_the_result_and_the_next_commands_are_shown(folder: Path) -> None:
    result = invoke("evaluate", "--model", "mlp", "--preset", "report", "--rounds", "2", "--samples", "50")
    assert result.exit_code == 0, result.output
    assert "| mlp   |" in result.stdout
    assert "variantlab compare" in result.stdout
    assert "variantlab ui" in result.stdout
    assert result.stderr == ""  # no terminal: no progress
    assert runs_in(folder) == ["evaluate mlp"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--train-size", "all", "--test-samples", "5"],
            "search --model mlp_ws_al --dataset idx --data-dir idx --train-size all --test-samples 5",
        ),
        (
            ["--samples", "20", "--test-samples", "same"],
            "search --model mlp_ws_al --dataset idx --data-dir idx --train-size 20 ",
        ),
        (
            ["--pairs", "20", "--test-pairs", "5"],
            "search --model mlp_ws_al --dataset idx --data-dir idx --train-size 20 --test-samples 5",
        ),
    ],
    ids=["all", "as many", "by their older names"],
)
def test_the_next_command_has_the_same_samples(folder: Path, options: list[str], expected: str) -> None:
    write_idx_folder(folder / "idx", compress=False)
    result = invoke("prepare", "--dataset", "idx", "--data-dir", "idx", *options)
    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stdout.splitlines() if " search " in line]
    assert expected in line


def test_after_points_comes_the_model_of_points(folder: Path) -> None:
    result = invoke("prepare", "--dataset", "disc")
    assert result.exit_code == 0, result.output
    assert "search --model disc_mlp --dataset disc " in result.stdout
    assert runs_in(folder) == ["prepare disc"]


def test_the_models_are_listed_without_a_trace(folder: Path) -> None:
    before = sorted(folder.iterdir())
    result = invoke("models")
    assert result.exit_code == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()]
    listed = {row[0]: row for row in rows if len(row) == 6}
    for name, variant in variants().items():
        described = [task_of(variant).name, variant.family, variant.paper or "-", f"{variant.parameters:,}"]
        assert listed[name][1:5] == described
        assert listed[name][5] == ", ".join(option.name for option in variant.options)
    assert len(listed) == len(variants()) + 2  # header and rule
    assert runs_in(folder) == []
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("variant", variants().values(), ids=lambda variant: variant.name)
def test_a_model_is_shown_with_source_layers_options_and_spaces(variant: Variant) -> None:
    result = invoke("models", variant.name)
    assert result.exit_code == 0, result.output
    assert variant.source.strip() in result.stdout
    for option in variant.options:
        assert option.meaning in result.stdout
    assert str(family_space(variant).relative_to(SPACES.parent)) in result.stdout
    header, *rest = result.stdout.splitlines()
    assert f"{variant.parameters:,} parameters" in header
    layers = itertools.takewhile(bool, itertools.dropwhile(lambda line: not line.startswith("| layer"), rest))
    counts = [line.strip("|").split("|")[2].strip().replace(",", "") for line in layers]
    assert sum(int(count) for count in counts if count.isdecimal()) == variant.parameters

"""Options that several commands share, and what their values may be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from pipeline.base.processes import cores
from pipeline.base.stored import OLD_OPTIONS
from pipeline.tasks.registry import data_options as options_of_data

Command = TypeVar("Command", bound=Callable[..., Any])
URL_PASSWORD = re.compile(r"://[^:/@\s]*:\S*@|[?&](password|passwd|sslpassword)=")
WHOLE = re.compile(r"[0-9]{1,18}")
"""A number that is not so long that Python refuses to read it."""
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


class Duration(click.ParamType[float]):
    """A time such as 90s, 10m or 1h30m, in seconds; 0 for no limit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the time."""
        if isinstance(value, float):
            return value
        found = DURATION.fullmatch(str(value).strip()) if str(value).strip() else None
        if found is None or len(str(value)) > 20:
            self.fail(f"must be a time such as 90s, 10m or 1h30m, or 0 for no limit, but got {value!r}", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return 3600 * hours + 60 * minutes + seconds


class Samples(click.ParamType[int]):
    """A number of samples, or a word for 0, or a second one for -1."""

    def __init__(self, words: Sequence[str]) -> None:
        self.name = "|".join([*words, "integer"])
        self.words = {word: -number for number, word in enumerate(words)}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number."""
        if value in self.words.values():  # what a word has become when it is converted again
            return int(value)
        if value in self.words:
            return self.words[value]
        if not (WHOLE.fullmatch(str(value)) and int(value) >= 1):
            self.fail(f"must be {', '.join(self.words)} or a number of at least 1, but got {value!r}", param, ctx)
        return int(value)


class Workers(click.ParamType[int]):
    """A number of processes, or `auto`: one a core."""

    name = "auto|integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number."""
        if value == "auto":
            return cores()
        if not (WHOLE.fullmatch(str(value)) and 1 <= int(value) <= 256):
            self.fail(f"must be auto or a number from 1 to 256, but got {value!r}", param, ctx)
        return int(value)


class DatabaseUrl(click.ParamType[str]):
    """The URL of a database; under `mlflow run` without a password, since that logs its parameters."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Look whether it has one."""
        if "MLFLOW_RUN_ID" in os.environ and URL_PASSWORD.search(value):
            server = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")
            self.fail(
                "must be without a password under mlflow run, which logs it as a parameter, but has one; leave it out "
                "and put it into PGPASSWORD, ~/.pgpass or a file that PGPASSFILE names, where PostgreSQL's client "
                f"looks for it{', and change it, since the tracking server has it now' if server else ''}",
                param,
                ctx,
            )
        return str(value)


def counted(option: str, words: Sequence[str], default: str, text: str) -> Callable[[Command], Command]:
    """A number of samples, by its option's present name or an older one."""
    names = (option, *OLD_OPTIONS[option], option.lstrip("-").replace("-", "_"))
    return click.option(*names, type=Samples(words), default=default, show_default=True, help=text)


DATASET, DATA_DIR, CACHE_DIR, TASK, METRIC, TRAIN_SIZE, TEST_SAMPLES, SEED = (
    click.option(
        "--dataset",
        default="mnist5k",
        show_default=True,
        help="csv, parquet, npz, folder, idx, mnist, mnist5k, torchvision:NAME, sklearn:NAME, module:function, or that "
        "of a model's task.",
    ),
    click.option("--data-dir", default="", help="Folder of the data set's files, where it is read from some."),
    click.option("--cache-dir", default="", help="Where prepared data is kept.  [default: $VARIANTLAB_CACHE]"),
    click.option(
        "--task", default="", help="classification, regression, pairs or module:TASK.  [default: by the target]"
    ),
    click.option("--metric", default="", help="What is searched and ranked by.  [default: the task's first metric]"),
    counted(
        "--train-size",
        ("all", "auto"),
        "auto",
        "Training samples of a round; auto: 1000 of the reports' data, all of others.",
    ),
    counted(
        "--test-samples",
        ("same",),
        "same",
        "Test samples of a round; same: as many as train of drawn samples, all of others.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**53), default=0, show_default=True, help="Root of every draw."),
)


def data_options(command: Command) -> Command:
    """The options of every stage that draws data."""
    of_tasks = [
        click.option(option.flag, default=option.default, show_default=bool(option.default), help=option.help)
        for option in options_of_data().values()
    ]
    return _all(command, DATASET, DATA_DIR, CACHE_DIR, *of_tasks, TASK, METRIC, TRAIN_SIZE, TEST_SAMPLES, SEED)


def full_data_options(command: Command) -> Command:
    """The options of a stage whose samples published tables prescribe, except for the data set."""
    dataset = click.option("--dataset", default="mnist", show_default=True, help="mnist, idx or mnist5k.")
    return _all(command, dataset, DATA_DIR, CACHE_DIR, SEED)


def _all(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def model_option(command: Command) -> Command:
    """The variant, required."""
    text = "Name of a model variant, such as mlp_ws_al, or your own: file.py:Class or package.module:Class."
    return click.option("--model", required=True, help=text)(command)


def select_option(command: Command) -> Command:
    """What the best configuration has least of."""
    text = "What the best has least of, over folds: mean or mean+std of the validation metric."
    return click.option("--select", default="mean", show_default=True, help=text)(command)


def storage_option(of: str) -> Callable[[Command], Command]:
    """Where studies are kept. It is read first, so that no mistake in another option hides that it has a password."""
    return click.option(
        "--storage",
        type=DatabaseUrl(),
        is_eager=True,
        default="sqlite:///optuna.db",
        show_default=True,
        help=f"Database URL of {of}.",
    )


def register_option(command: Command) -> Command:
    """Where the trained model goes besides."""
    text = "Registered model to add it to; the champion if it beats the present one on the same test samples."
    return click.option("--register", default="", help=text)(command)


def compute_options(command: Command) -> Command:
    """Where and how a stage trains."""
    for option in (
        click.option("--chunk", type=int, default=0, show_default=True, help="Trainings a program; 0: by model size."),
        click.option(
            "--compile", default="off", show_default=True, help="torch.compile: off, on, or auto: if it pays."
        ),
        click.option("--precision", default="float32", show_default=True, help="float32, or bfloat16 to compute in."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option(
            "--workers", type=Workers(), default="auto", show_default=True, help="Worker processes; auto: one a core."
        ),
    ):
        command = option(command)
    return command


def dry_run_option(command: Command) -> Command:
    """Whether to say what would be done instead of doing it."""
    text = "Say what would be trained and how long it would take; run and log nothing."
    return click.option("--dry-run", is_flag=True, help=text)(command)

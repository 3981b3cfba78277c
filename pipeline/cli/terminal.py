"""What the terminal shows: progress with the time left, one-line messages, and results with the next commands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.base.files import given_path

if TYPE_CHECKING:
    from tqdm import tqdm

    from pipeline.reports.layout import Part
    from pipeline.stages.stage import Answer

PROGRESS_AFTER = 2.0
"""Seconds after which work counts as long."""


def is_quiet() -> bool:
    """Whether nobody watches progress: under `CI`, or without a terminal."""
    return bool(os.environ.get("CI")) or not sys.stderr.isatty()


class Bar:
    """A progress bar; see `Progress`."""

    def __init__(self, bar: tqdm) -> None:  # type: ignore[type-arg] # generic in the stubs alone
        self._bar = bar

    def update(self, done: float, note: str = "") -> None:
        """Move to `done` and show `note` behind the time left."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)


class Terminal:
    """The reporter of the command line: messages and progress on standard error, results on standard output."""

    def say(self, line: str) -> None:
        """Tell one thing now."""
        click.echo(line, err=True)

    @contextmanager
    def progress(self, label: str, total: float) -> Iterator[Bar]:
        """A bar with the time left, once the work has taken two seconds; none when nobody watches."""
        from tqdm import tqdm

        layout = "{desc} {percentage:3.0f}% |{bar:16}| {elapsed} elapsed, {remaining} left{postfix}"
        with tqdm(
            total=total,
            desc=label,
            disable=is_quiet(),
            delay=PROGRESS_AFTER,
            bar_format=layout,
            leave=False,
            file=sys.stderr,
        ) as bar:
            yield Bar(bar)

    def show(self, result: Answer) -> None:
        """Print what was found, or what would be done."""
        click.echo()
        show_parts(result.parts)


def show_parts(parts: Sequence[Part]) -> None:
    """Print texts and tables, laid out to the width of the terminal; as they are where something else reads them."""
    from pipeline.reports.layout import fit, markdown  # which need packages that --help does not wait for

    width = _width()
    click.echo(markdown(parts) if width is None else fit(parts, width))


def _width() -> int | None:
    """Columns of the terminal that standard output is; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def program(name: str) -> str:
    """How to call a program of this environment from the shell of whoever started this command."""
    path, folder = Path(sys.executable).parent / name, given_path("").absolute()
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    # Under `mlflow run` this environment may be one that only MLflow knows of.
    return str(path) if "MLFLOW_RUN_ID" in os.environ and name != "mlflow" else name


def stage_command(stage: str, **options: str) -> str:
    """How to run a stage next, in the way in which this one was started."""
    given = {name: value for name, value in options.items() if value}
    if "MLFLOW_RUN_ID" in os.environ and not (Path(sys.executable).parent / "variantlab").exists():
        parameters = "".join(f" -P {name}={shlex.quote(value)}" for name, value in given.items())
        return f"mlflow run . -e {stage}{parameters}"
    return own_command(stage, **given)


def own_command(name: str, **options: str) -> str:
    """How to call a command of this program from the shell of whoever started this one."""
    is_installed = (Path(sys.executable).parent / "variantlab").exists()
    start = program("variantlab") if is_installed else f"{program(Path(sys.executable).name)} -m pipeline"
    flags = "".join(f" --{option.replace('_', '-')} {shlex.quote(value)}" for option, value in options.items())
    return f"{start} {name}{flags}"


def show_next(commands: list[tuple[str, str]]) -> None:
    """Print what to type next: commands, each with what it does."""
    longest = max(len(command) for command, _ in commands)
    lines = [f"  {command.ljust(longest)}  # {purpose}" for command, purpose in commands]
    if (width := _width()) is not None and any(len(line) > width for line in lines):
        lines = [f"  # {purpose}\n  {command}" for command, purpose in commands]  # a command stays on one line
    click.echo("\n".join(["", "Next:", *lines]))

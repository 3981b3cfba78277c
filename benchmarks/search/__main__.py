"""`python -m benchmarks.search`: parse options, run, print the page and write it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click
from platformdirs import user_cache_dir

from benchmarks.__main__ import Names
from pipeline.base.errors import VariantlabError

CONTESTANTS = ("optuna threads", "optuna processes", "ray tune", "variantlab", "everything on")
CHAPTERS = ("contest", "pruning", "overhead")
TRIALS, PEER_TRIALS, OVERHEAD_TRIALS = 100, 10, 2000


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--contestants",
    default=",".join(CONTESTANTS),
    show_default=True,
    type=Names(CONTESTANTS),
    help="Who takes part; at least one that is not variantlab.",
)
@click.option("--chapters", default=",".join(CHAPTERS), show_default=True, type=Names(CHAPTERS), help="What is asked.")
@click.option("--trials", default=TRIALS, show_default=True, type=click.IntRange(1, 10_000), help="Of a search.")
@click.option(
    "--peer-trials",
    default=PEER_TRIALS,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="That the others than variantlab make; their time is extrapolated.",
)
@click.option("--whole", is_flag=True, help="Let the fastest of the others make all trials too (many minutes).")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 100), help="Rounds of the contest.")
@click.option(
    "--population",
    default=6,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Trials that variantlab trains together.",
)
@click.option(
    "--overhead-trials",
    default=OVERHEAD_TRIALS,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Of the search that trains nothing.",
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Processes, a core each.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The page to write.")
@click.option(
    "--cache-dir",
    default=lambda: user_cache_dir("variantlab"),
    show_default="the user's",
    envvar="VARIANTLAB_CACHE",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where prepared data is kept.",
)
def main(output: Path | None, **options: Any) -> None:
    """Measure how long a hyperparameter search takes with variantlab and with what people use instead.

    The page is printed, and written below benchmarks/results/. A run of less than everything is written only to
    --output.
    """
    from benchmarks.search.harness import run  # torch takes a second to import, and --help does not need it
    from benchmarks.search.plan import Plan

    signal.signal(signal.SIGTERM, _stop)
    try:
        page = run(Plan(**options))
        click.echo(page.markdown())
        path = output or (page.default_path if _is_everything(**options) else None)
        if path:
            page.write(path)
            click.echo(f"Written: {path}", err=True)
    except VariantlabError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def _is_everything(
    *,
    contestants: list[str],
    chapters: list[str],
    trials: int,
    peer_trials: int,
    overhead_trials: int,
    **_: Any,
) -> bool:
    """Whether a run is at least what it is by default."""
    all_names = set(contestants) == set(CONTESTANTS) and set(chapters) == set(CHAPTERS)
    return all_names and trials >= TRIALS and peer_trials >= PEER_TRIALS and overhead_trials >= OVERHEAD_TRIALS


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.search")

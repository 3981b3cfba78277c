"""`python -m benchmarks`: parse options, run, print the page and write it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click
from platformdirs import user_cache_dir

from pipeline.base.errors import VariantlabError, near_misses

MODELS = ("mlp", "mlp_ws_al", "convnet_ws_al", "resnet4_ws_al", "alexnet_digits")
CONTESTANTS = ("skorch", "lightning", "jax", "float32", "bfloat16", "compiled")


class Names(click.ParamType[list[str]]):
    """Names between commas, of a known set if there is one."""

    name = "names"

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Text to names."""
        chosen = [name.strip() for name in str(value).split(",") if name.strip()]
        for name in chosen:
            if self.known and name not in self.known:
                self.fail(f"unknown name {name!r}; {near_misses(name, list(self.known))}", param, ctx)
        return chosen


class Sizes(click.ParamType[list[int]]):
    """Whole numbers from 1 to 1000, between commas."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Text to numbers."""
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= 1000 for part in parts):
            self.fail(f"batch sizes must be whole numbers from 1 to 1000 between commas, but got {value!r}", param, ctx)
        return [int(part) for part in parts]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--models", default=",".join(MODELS), show_default=True, type=Names(), help="What is trained.")
@click.option("--batch-sizes", type=Sizes(), help="Pairs a step.  [default: 8,25,100; heavy networks: 100]")
@click.option(
    "--contestants",
    default=",".join(CONTESTANTS),
    show_default=True,
    type=Names(CONTESTANTS),
    help="Who takes part; plain and float32 always do.",
)
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1, 100), help="Rounds of each cell.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Processes, a core each.")
@click.option("--jobs/--no-jobs", default=True, show_default=True, help="Report 000's tables as whole jobs.")
@click.option("--own/--no-own", default=True, show_default=True, help="Networks of one's own, and a whole question.")
@click.option("--whole", is_flag=True, help="Run the engine's side of the whole jobs in full (many minutes).")
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
    """Measure the replica engine against what people use instead, in one run of a few minutes.

    The page is printed, and written below benchmarks/results/. A run of less than everything is written only to
    --output.
    """
    from benchmarks.harness import Plan, run  # torch takes a second to import, and --help does not need it

    signal.signal(signal.SIGTERM, _stop)
    everything = {"models": [*MODELS], "contestants": [*CONTESTANTS], "batch_sizes": None, "jobs": True, "own": True}
    is_whole = all(options[name] == value for name, value in everything.items())
    try:
        page = run(Plan(**options))
        click.echo(page.markdown())
        path = output or (page.default_path if is_whole else None)
        if path:
            page.write(path)
            click.echo(f"Written: {path}", err=True)
    except VariantlabError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")

"""The command line: each command parses its options, builds a config and calls one stage.

Nothing heavy is imported before a command runs, so that `--help` answers at once. Errors are turned into one line here
and nowhere else. The parameters in `MLproject` are these options, with the same defaults.
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pipeline import __version__
from pipeline.base.errors import InputError, StageError, UnknownNameError, VariantlabError, hide_secrets, one_line
from pipeline.base.files import FOLDER
from pipeline.base.garbage import collect_seldom
from pipeline.base.interruptions import raise_on_signals
from pipeline.base.stored import OLD_OPTIONS
from pipeline.base.stores import not_written
from pipeline.cli.options import (
    Duration,
    compute_options,
    data_options,
    dry_run_option,
    full_data_options,
    model_option,
    register_option,
    select_option,
    storage_option,
)
from pipeline.cli.streams import discard_unwritten, show_all_characters, use_utf8
from pipeline.cli.terminal import Terminal, is_quiet, own_command, show_next, show_parts, stage_command
from pipeline.tasks.registry import data_options as options_of_data
from pipeline.tasks.registry import factor_names

if TYPE_CHECKING:
    from pipeline.stages.planning import Work
    from pipeline.stages.stage import Sampling
    from pipeline.tracking.mlflow_tracker import MlflowTracker
    from pipeline.training.compute import Compute


NOT_WINDOWS = (
    "variantlab runs on Linux and macOS, whose processes, signals and shell it uses, but this is Windows; run it in WSL"
)
PROJECT_RUN = "MLFLOW_RUN_ID"
"""The variable in which `mlflow run` names the run that it has made."""
LAUNCHER = "VARIANTLAB_LAUNCHER"
"""The variable in which MLproject names the process of `mlflow run`, for what it starts outlives it when it is killed.
"""


class Group(click.Group):
    """Translates this package's errors into one line and an exit code; an interrupted command exits with 130."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit."""
        if sys.platform == "win32":
            click.echo(f"Error: {NOT_WINDOWS}", err=True)
            sys.exit(InputError.exit_code)
        use_utf8()
        show_all_characters()
        collect_seldom()
        if is_quiet():
            os.environ["TQDM_DISABLE"] = "1"  # for the bars that libraries show when they download
        logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
        try:
            raise_on_signals()
            if launcher := os.environ.get(LAUNCHER):
                from pipeline.base.processes import end_with, folder_of

                end_with(int(launcher))  # at once, if it has ended
                os.environ.setdefault(FOLDER, folder_of(int(launcher)))
            super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            self._fail(error.format_message(), error.exit_code)
        except VariantlabError as error:
            self._fail(str(error), error.exit_code)
        except OSError as error:
            if was_shown := _was_shown(error):
                discard_unwritten()
            known = not_written(error, "standard output" if was_shown else "")
            if known is None:
                raise
            self._fail(str(known), known.exit_code)
        except (click.Abort, KeyboardInterrupt):
            self._end_project()
            self._fail("interrupted (a search goes on when the same command is started again)", 130)
        except SystemExit:
            self._end_project()
            raise
        sys.exit(0)

    def _end_project(self) -> None:
        """When this process was stopped: `mlflow run` would make its run, which is KILLED, FAILED."""
        if launcher := os.environ.get(LAUNCHER):
            from pipeline.base.processes import terminate_program
            from pipeline.tracking.project_run import end_project_run

            terminate_program(int(launcher), "mlflow", "run")
            end_project_run()  # stopped while it imported, a stage has no tracker yet that would

    def _fail(self, message: str, code: int) -> NoReturn:
        click.echo(f"Error: {one_line(message)}", err=True)
        if code == InputError.exit_code and PROJECT_RUN in os.environ:
            # `mlflow run` made a run before it knew that the input is bad.
            from pipeline.tracking.project_run import refuse_project_run

            refuse_project_run(one_line(message))
        sys.exit(code)


def _was_shown(error: OSError) -> bool:
    """Whether an error came when something was shown: it does not name the stream."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Which of my model variants is better, by how much, and can I make that figure again?

    Every command tracks to MLflow: the store at MLFLOW_TRACKING_URI, or sqlite:///mlflow.db in this folder.
    """


@main.command("new")
@click.argument("name")
def new_command(name: str) -> None:
    """Make the folder NAME with a small study of your own to begin with: models, data and a search space."""
    from pipeline.stages import new

    made = new.run(name)
    width = max(len(file) for file, _ in made)
    for file, what in made:
        click.echo(f"{file.ljust(width)}  {what}")
    data = "--dataset csv --data-file leaves.csv --target species --group tree"
    show_next(
        [
            (f"cd {shlex.quote(name)}", "and read README.md"),
            (f"{own_command('search')} --model models.py:Wide {data}", "find its hyperparameters"),
        ]
    )


@main.command("prepare")
@data_options
@dry_run_option
def prepare_command(dry_run: bool, **options: Any) -> None:
    """Build or check the cached data, and log what is in them."""
    from pipeline.stages import prepare
    from pipeline.tasks.subjects import example_of

    config = prepare.PrepareConfig(sampling=_sampling(options))
    if dry_run:
        _show_plan(prepare.plan(config), config.sampling)
        return
    Terminal().show(prepare.run(config, _tracker(), Terminal()))
    model = example_of(config.sampling.data) or "models.py:NAME"
    show_next([(stage_command("search", model=model, **_again(config.sampling)), "search hyperparameters"), _look()])


@main.command("cross_validate")
@model_option
@click.option(
    "--grid",
    default="preset",
    show_default=True,
    help="preset, or values such as 'epochs=25,50 batch_size=25,50,100 dropout=0,0.4'; see variantlab models MODEL.",
)
@click.option(
    "--folds", type=int, default=10, show_default=True, help="Parts that the training samples are split into."
)
@click.option("--rounds", type=int, default=1, show_default=True, help="Draws of samples, each cross-validated.")
@click.option("--patience", type=int, default=0, show_default=True, help="Stop after so many epochs without progress.")
@select_option
@data_options
@compute_options
@dry_run_option
def cross_validate_command(dry_run: bool, **options: Any) -> None:
    """Cross-validate one configuration or a grid on training samples."""
    from pipeline.stages import cross_validate

    sampling = _sampling(options)
    config = cross_validate.CrossValidateConfig(sampling=sampling, compute=_compute(options), **options)
    if dry_run:
        _show_plan(cross_validate.plan(config), sampling, config.compute)
        return
    result = cross_validate.run(config, _tracker(), Terminal())
    Terminal().show(result)
    evaluate = stage_command("evaluate", model=options["model"], from_run=result.run_id, **_again(sampling))
    show_next([(evaluate, "measure it on test samples"), _look()])


@main.command("search")
@model_option
@click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    help="tpe, random, qmc, cmaes, gp or nsga2 (error and --trade-off); or all combinations: grid; two-step: then "
    "alpha; screen: on few samples, then the best on --train-size.",
)
@select_option
@click.option("--space", default="", help="Search space file.  [default: MODEL's in search_spaces/]")
@click.option("--n-trials", type=int, default=30, show_default=True, help="Trials in all, earlier starts included.")
@click.option(
    "--trade-off", default="", help="What nsga2 minimises besides: parameters or time.  [default: parameters]"
)
@click.option(
    "--screen-samples",
    *OLD_OPTIONS["--screen-samples"],
    "screen_samples",
    type=int,
    default=350,
    show_default=True,
    help="Training samples while screening.",
)
@click.option(
    "--keep", type=int, default=3, show_default=True, help="How many screened configurations are tried again."
)
@click.option("--folds", type=int, default=5, show_default=True, help="Parts that the training samples are split into.")
@click.option("--rounds", type=int, default=1, show_default=True, help="Draws of samples, each cross-validated.")
@click.option("--population", type=int, default=6, show_default=True, help="Trials that train together.")
@click.option(
    "--pruner", default="median", show_default=True, help="median, halving, hyperband, wilcoxon or none; not of grids."
)
@click.option(
    "--reuse",
    default="study",
    show_default=True,
    help="What a known configuration is read off: this study, the whole storage, or none: tried on a new draw.",
)
@click.option("--recheck", type=int, default=5, show_default=True, help="The best so many are tried again; 0: none.")
@click.option("--budget", type=Duration(), default="0", show_default=True, help="Of the study, such as 10m; 0: none.")
@click.option("--timeout", type=Duration(), default="0", show_default=True, help="Of this start, such as 90s; 0: none.")
@click.option("--study", default="", help="Name of the study.  [default: named after model, data and settings]")
@storage_option("the study")
@click.option("--artifacts", default="optuna-artifacts", show_default=True, help="Folder of the study's files.")
@data_options
@compute_options
@dry_run_option
def search_command(dry_run: bool, **options: Any) -> None:
    """Search hyperparameters with Optuna by cross validation on training samples; start again to resume."""
    from pipeline.stages.searching.config import SearchConfig, space_of

    sampling = _sampling(options)
    config = SearchConfig(sampling=sampling, compute=_compute(options), **options)
    space_of(config)  # raises for a bad one, before there is a tracking store
    if dry_run:
        from pipeline.stages.searching.plan import plan

        _show_plan(plan(config), config.sampling, config.compute)
        return
    from pipeline.stages import search

    Terminal().show(search.run(config, _tracker(), Terminal()))
    evaluate = stage_command("evaluate", model=options["model"], **_again(sampling))
    show_next(
        [
            (evaluate, "measure the best configuration on test samples"),
            _look(storage=config.storage, artifacts=config.artifacts),
        ]
    )


@main.command("evaluate")
@model_option
@click.option("--rounds", type=int, default=20, show_default=True, help="Fresh draws of samples and weights.")
@click.option(
    "--preset", default="best", show_default=True, help="best (of the newest finished search), or report or default."
)
@click.option("--from-run", default="", help="Take the configuration of this run instead.")
@click.option("--changes", default="", help="Values to change in it, such as 'optimiser=sgd batch_norm=on'.")
@click.option(
    "--resampling", default="none", show_default=True, help="Of a round's training samples: none, or bootstrap."
)
@register_option
@data_options
@compute_options
@dry_run_option
def evaluate_command(dry_run: bool, **options: Any) -> None:
    """Measure one configuration on test samples over many rounds."""
    from pipeline.stages import evaluate

    sampling = _sampling(options)
    config = evaluate.EvaluateConfig(sampling=sampling, compute=_compute(options), **options)
    if dry_run:
        _show_plan(evaluate.plan(config, _tracker()), sampling, config.compute)
        return
    Terminal().show(evaluate.run(config, _tracker(), Terminal()))
    show_next([(stage_command("compare"), "put the evaluated variants side by side"), _look()])


@main.command("compare")
@click.option("--experiment", default="", help="Experiment to read.  [default: the present one]")
@click.option("--models", default="all", show_default=True, help="all, or names separated by commas.")
@click.option(
    "--contrast",
    default="",
    help="Differences to test, such as mlp_ws_al:mlp_al,mlp:convnet.  [default: the effects of each "
    "family's factors and their interactions]",
)
@click.option(
    "--allow-unequal",
    type=bool,
    default=False,
    is_flag=False,
    flag_value=True,
    show_default=True,
    help="Rank variants that were not measured or searched alike.",
)
@dry_run_option
def compare_command(dry_run: bool, **options: Any) -> None:
    """Say which of the evaluated variants is better, and by how much: ranks, paired tests, pictures, a page."""
    from pipeline.stages import compare

    if dry_run:
        _show_plan(compare.plan(compare.CompareConfig(**options), _tracker()))
        return
    Terminal().show(compare.run(compare.CompareConfig(**options), _tracker(), Terminal()))
    show_next([_look()])


@main.command("reproduce")
@click.argument("tables", nargs=-1, required=True)
@click.option("--rounds", type=int, default=0, show_default=True, help="Rounds instead of the report's; 0: its own.")
@click.option("--scale", default="full", show_default=True, help="full, or quick: three rounds at most.")
@click.option("--missing", default="measure", show_default=True, help="measure what was not yet, or leave it out.")
@storage_option("searches")
@click.option("--output", default="", help="Markdown file to write all tables to.")
@full_data_options
@compute_options
@dry_run_option
def reproduce_command(dry_run: bool, **options: Any) -> None:
    """Make tables of the reports anew, such as 000/table-2, or all, and show each figure beside the report's.

    Measures what is not there yet; start again to resume. With --missing leave it shows what there is.
    """
    from pipeline.stages import reproduce
    from pipeline.stages.reproducing.config import ReproduceConfig

    sampling, compute = _sampling(options), _compute(options)
    config = ReproduceConfig(sampling=sampling, compute=compute, **options)
    if dry_run:
        _show_plan(reproduce.plan(config, _tracker()), sampling, compute)
        return
    reproduce.run(config, _tracker(), Terminal(), Terminal().show)
    show_next([_look()])


@main.command("models")
@click.argument("name", required=False)
def models_command(name: str | None) -> None:
    """List the model variants, or show one: layers, sizes, options, preset, search spaces and source."""
    from pipeline.stages import catalogue

    show_parts(catalogue.describe(name) if name else catalogue.list_variants())


@main.command("runs")
@click.option("--model", default="", help="Runs of one variant.")
@click.option("--stage", default="", help="search, evaluate, trial, summary ...; without it all but trials and cells.")
@click.option("--status", default="", help="RUNNING, FINISHED, FAILED or KILLED.")
@click.option("--experiment", default="", help="Runs of one experiment.")
@click.option("--sort", default="started", show_default=True, help="started, or a metric such as final_test_error.")
@click.option("--descending", is_flag=True, help="The greatest first.")
@click.option("--limit", type=int, default=20, show_default=True, help="Runs at most; 0 for all.")
@click.option("--format", default="table", show_default=True, help="table, json or csv.")
def runs_command(**options: Any) -> None:
    """List runs, the newest first, or by a metric the least first."""
    from pipeline.stages import runs

    config = runs.RunsConfig(**options)
    shown = runs.run(config, _tracker(), Terminal())
    if config.format == "table":
        show_parts([shown])
    else:
        click.echo(shown)


@main.command("ui")
@storage_option("searches")
@click.option("--artifacts", default="optuna-artifacts", show_default=True, help="Folder of the studies' files.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where MLflow listens.")
def ui_command(storage: str, artifacts: str, host: str) -> None:
    """Open MLflow's user interface and optuna-dashboard over the present stores, until Ctrl-C.

    They listen on loopback. With another --host MLflow asks for a user and a password: admin and what is in
    MLFLOW_AUTH_ADMIN_PASSWORD. optuna-dashboard cannot, and stays.
    """
    from pipeline.cli.viewers import (
        LOOPBACK,
        LOOPBACKS,
        check_host,
        dashboard_viewer,
        mlflow_viewer,
        serving,
        watch,
        why_no_dashboard,
    )
    from pipeline.tracking.address import server_page, tracking_uri

    uri = tracking_uri()
    is_server = uri.startswith("http")
    if is_server and host != LOOPBACK:
        raise InputError(
            f"--host must be left out where MLFLOW_TRACKING_URI is a server, which listens already, but it is {host}"
        )
    check_host(host)
    experiment = _tracker().experiment_id  # makes the tables that MLflow's server would make
    if reason := why_no_dashboard(storage):
        Terminal().say(reason)
    dashboard = None if reason else dashboard_viewer(storage, artifacts)
    viewers = [*([] if is_server else [mlflow_viewer(uri, experiment, host)]), *([dashboard] if dashboard else [])]
    try:
        with serving(viewers) as servers:
            addresses = [(server.viewer.name, server.address) for server in servers]
            if is_server:
                addresses.insert(0, ("MLflow", server_page(uri)))
            width = max(len(name) for name, _ in addresses)
            for name, address in addresses:
                click.echo(f"{name.ljust(width)}  {address}")
            if host not in LOOPBACKS:
                _tell_who_gets_in(host, [server.port for server in servers if server.viewer is dashboard])
            Terminal().say("Ctrl-C stops them.")
            watch(servers)
    except KeyboardInterrupt:
        Terminal().say("stopped")


@main.command("doctor")
@storage_option("studies")
@click.option("--artifacts", default="optuna-artifacts", show_default=True, help="Folder of the studies' files.")
@click.option("--cache-dir", default="", help="Where prepared data is kept.  [default: $VARIANTLAB_CACHE]")
@click.option("--repair", is_flag=True, help="End the runs and put back the trials that dead processes left.")
def doctor_command(storage: str, artifacts: str, cache_dir: str, repair: bool) -> None:
    """Check packages, stores and disks, and what dead processes left; exit with 1 if something needs attention."""
    from pipeline.stages import doctor

    config = doctor.DoctorConfig(storage=storage, artifacts=artifacts, cache_dir=_cache(cache_dir), repair=repair)
    answer, well = doctor.run(config, _tracker)
    Terminal().show(answer)
    if not well:
        raise StageError(f"{answer.headline[:-1]}: the lines above say what to do")


@main.command("main")
@model_option
@click.option("--n-trials", type=int, default=30, show_default=True, help="Trials of the search.")
@click.option("--folds", type=int, default=5, show_default=True, help="Folds of cross validation and search.")
@click.option("--rounds", type=int, default=20, show_default=True, help="Rounds of the evaluation.")
@storage_option("the study")
@register_option
@data_options
@compute_options
@dry_run_option
def main_command(dry_run: bool, **options: Any) -> None:
    """Run all stages in order for one model."""
    from pipeline.stages import compare, cross_validate, evaluate, prepare
    from pipeline.stages import main as whole
    from pipeline.stages.searching.config import SearchConfig

    sampling = _sampling(options)
    compute = _compute(options)
    model, folds = options["model"], options["folds"]
    config = whole.MainConfig(
        prepare=prepare.PrepareConfig(sampling=sampling),
        cross_validate=cross_validate.CrossValidateConfig(sampling=sampling, model=model, folds=folds, compute=compute),
        search=SearchConfig(
            sampling=sampling,
            model=model,
            n_trials=options["n_trials"],
            folds=folds,
            storage=options["storage"],
            compute=compute,
        ),
        evaluate=evaluate.EvaluateConfig(
            sampling=sampling, model=model, rounds=options["rounds"], register=options["register"], compute=compute
        ),
        compare=compare.CompareConfig(),
    )
    if dry_run:
        _show_plan(whole.plan(config, _tracker()), sampling, compute)
        return
    whole.run(config, _tracker(), Terminal(), Terminal().show)
    show_next([_look(storage=options["storage"])])


@main.command("plan", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("stage")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def plan_command(stage: str, options: tuple[str, ...]) -> None:
    """Say what a stage would train and how long it would take: plan STAGE [OPTIONS of the stage]."""
    planned = {name: command for name, command in main.commands.items() if _can_be_planned(command)}
    if stage not in planned:
        raise UnknownNameError("stage", stage, planned)
    planned[stage].main([*options, "--dry-run"], prog_name=f"variantlab {stage}", standalone_mode=False)


def _can_be_planned(command: click.Command) -> bool:
    return any(parameter.name == "dry_run" for parameter in command.params)


@main.group("spaces")
def spaces_group() -> None:
    """Search spaces: the files in search_spaces/, or your own."""


@spaces_group.command("check")
@click.argument("file", required=False)
@click.option("--model", default="", help="The variant that FILE is for, if neither its name nor the file says.")
def check_spaces_command(file: str | None, model: str) -> None:
    """Check a search space file, or all of search_spaces/, and say what is wrong with line and near miss."""
    from pipeline.stages import spaces

    show_parts([spaces.check_file(file, model) if file else spaces.check_all()])


def _show_plan(works: list[Work], sampling: Sampling | None = None, compute: Compute | None = None) -> None:
    from pipeline.stages.planning import answer

    Terminal().show(answer(works, sampling, compute, Terminal()))


def _tell_who_gets_in(host: str, dashboard_ports: Sequence[int]) -> None:
    user = os.environ.get("MLFLOW_AUTH_ADMIN_USERNAME") or "admin"
    Terminal().say(
        f"MLflow listens at {host} and asks for the password of {user}, unencrypted: in a network that others are in, "
        f"put a proxy with TLS before it."
    )
    for port in dashboard_ports:
        Terminal().say(
            f"optuna-dashboard cannot ask for a password, so it stays on loopback. From another machine: "
            f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
        )


def _sampling(options: dict[str, Any]) -> Sampling:
    """Take the options that all stages share out of `options`."""
    from pipeline.data.config import DataConfig
    from pipeline.stages.stage import Sampling
    from pipeline.tasks.subjects import kept, usual_samples

    click.get_current_context().with_resource(kept())
    cache_dir = _cache(options.pop("cache_dir"))
    given = {name: options.pop(name) for name in options_of_data() if name in options}
    told = {name: value for name, value in given.items() if value != options_of_data()[name].default}
    sources = {name: options.pop(name) for name in ("dataset", "data_dir", "task", "metric") if name in options}
    data = DataConfig(cache_dir=cache_dir, options=told, **sources)
    drawn = {name: options.pop(name) for name in ("seed", "test_samples") if name in options}
    if "train_size" in options and (count := options.pop("train_size")) >= 0:
        return Sampling(data=data, samples=count, **drawn)
    return Sampling(data=data, samples=usual_samples(data), **drawn)


def _cache(given: str) -> Path:
    from platformdirs import user_cache_dir

    return Path(given or os.environ.get("VARIANTLAB_CACHE") or user_cache_dir("variantlab"))


def _compute(options: dict[str, Any]) -> Compute:
    """Take the options of where and how to train out of `options`."""
    from pipeline.training.compute import Compute

    return Compute(**{name: options.pop(name) for name in ("workers", "device", "precision", "compile", "chunk")})


def _again(sampling: Sampling) -> dict[str, str]:
    """The options of data and seed that the next command needs as well: those that are not the default."""
    from pipeline.tasks.subjects import usual_samples

    given = {
        "dataset": sampling.data.dataset,
        "data_dir": sampling.data.data_dir,
        "task": sampling.data.task,
        "metric": sampling.data.metric,
        **sampling.data.options,
        **({} if sampling.samples == usual_samples(sampling.data) else {"train_size": str(sampling.samples or "all")}),
        "test_samples": str(sampling.test_samples or "same"),
        "seed": str(sampling.seed),
    }
    defaults = {option.name: str(option.default) for option in main.commands["prepare"].params}
    return {name: value for name, value in given.items() if value != defaults[name]}


def _tracker() -> MlflowTracker:
    """Open until the command ends, however it does."""
    from pipeline.tracking.mlflow_tracker import MlflowTracker

    return click.get_current_context().with_resource(MlflowTracker(factor_names()))


def _look(**stores: str) -> tuple[str, str]:
    """How to see runs and studies; `stores` are options of `ui`."""
    usual = {option.name: option.default for option in ui_command.params}
    given = {name: hide_secrets(value) for name, value in stores.items() if value != usual[name]}
    return own_command("ui", **given), "look at the runs and the studies"

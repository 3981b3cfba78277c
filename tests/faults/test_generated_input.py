"""Whatever a file or a command line says, it is taken, or refused in one line at once, and nothing is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click
import mlflow
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow.entities import ViewType

from pipeline.base.errors import VariantlabError
from pipeline.cli import main
from pipeline.tasks.registry import get_variant
from pipeline.tuning.space import Space
from pipeline.tuning.space_file import load_space
from tests.faults.arguments import COMMANDS, HOSTILE, lists_for
from tests.faults.scale import scaled
from tests.faults.spaces import mutated_spaces, structured_spaces
from tests.idx_files import write_idx_folder

LIMIT = 1.0
"""Seconds that an answer may take: the one place where time is what is tested."""
Answer = TypeVar("Answer")
MODELS = ("mlp_ws_al", "alexnet_digits", "lenet_digits", "resnet_digits", "linear_digits", "disc_mlp")


def answered(answer: Callable[[], Answer]) -> Answer:
    """What something gives within the limit; tried again if not, since other programs may have held it up."""
    for _ in range(5):
        started = time.perf_counter()
        found = answer()
        if (seconds := time.perf_counter() - started) < LIMIT:
            return found
    pytest.fail(f"an answer took {seconds:.1f} s")


def generated(count: int) -> settings:
    """Settings for so many examples, the same ones every time; none is traced, which takes its time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


# Search space files


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in MODELS:
        load_space(get_variant(name))  # imports, and first networks
    return tmp_path_factory.mktemp("spaces") / "space.yaml"


def is_read_or_refused(path: Path, content: bytes, model: str, complete: bool) -> None:
    path.write_bytes(content)

    def load() -> Space | VariantlabError:
        try:
            return load_space(get_variant(model), path, complete=complete)
        except VariantlabError as error:
            return error

    found = answered(load)
    if isinstance(found, VariantlabError):
        assert str(found).startswith(f"{path}:")
        assert str(found).isprintable()  # so that it is one line on every terminal


FILES = {
    "bytes": (st.binary(max_size=400), scaled(500, 20)),
    "text": (st.text(max_size=400).map(str.encode), scaled(500, 20)),
    "mutated": (mutated_spaces(), scaled(2000, 80)),
    "structured": (structured_spaces(), scaled(2000, 80)),
}


@pytest.mark.parametrize(("contents", "count"), FILES.values(), ids=FILES)
def test_every_file_is_a_space_or_refused_in_one_line(
    path: Path, contents: st.SearchStrategy[bytes], count: int
) -> None:
    @generated(count)
    @given(content=contents, model=st.sampled_from(MODELS), complete=st.booleans())
    def holds(content: bytes, model: str, complete: bool) -> None:
        is_read_or_refused(path, content, model, complete)

    holds()


GRID = "epochs: {type: int, low: 1, high: 500}\nbatch_size: {type: int, low: 2, high: 11}\n"
LARGE = {
    "values": ("mlp", "lr: [" + "1, " * 20_000 + "]"),
    "keys": ("mlp", "".join(f"k{number}: 1\n" for number in range(2400))),
    "anchors": ("mlp", "lr: [" + "&a 1, " * 10_000 + "]"),
    "a value many times": ("alexnet_digits", f"batch_size: {{type: choice, values: {[1] * 90}}}"),
    "a value many times in a list": ("alexnet_digits", f"batch_size: {{type: choice, values: {[1] * 20_000}}}"),
    "a condition": (
        "alexnet_digits",
        "batch_size: {type: choice, values: [1]}\n"
        f"lr: {{type: float, low: 1e-4, high: 1, when: {{batch_size: {[1] * 90}}}}}",
    ),
    "an option": ("disc_mlp", "nodes: {type: int, low: 1, high: 4096}"),
    "steps": ("mlp", "momentum: {type: float, low: 0, high: 1, step: 1e-5}\n" + GRID),
    "combinations": ("mlp", GRID),
    "constraints": ("mlp", f"{GRID}constraints: {['lr > 0'] * 10}"),
    "constraints without end": ("mlp", f"{GRID}constraints: {['lr > 0'] * 2000}"),
    "constraints that nothing fulfils": ("mlp", f"{GRID}constraints: ['{'+'.join(['lr'] * 15)} < 0']"),
}


@pytest.mark.parametrize(("model", "text"), LARGE.values(), ids=LARGE)
def test_a_large_file_takes_no_longer(path: Path, model: str, text: str) -> None:
    is_read_or_refused(path, text.encode(), model, complete=True)


# Arguments


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder in others, with an empty store, a search space and digits."""
    folder = tmp_path_factory.mktemp("arguments") / "work" / "here"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nmodels: [mlp]\n")
    (folder / "looped.yaml").symlink_to("looped.yaml")
    write_idx_folder(folder / "digits", compress=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("VARIANTLAB_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert invoke(["runs"]).exit_code == 0  # makes the tables
        for arguments in (
            ["models", "mlp"],
            ["compare"],
            ["evaluate", "--model=mlp", *NO_SEARCH],
            ["reproduce", "all", "--dataset=idx"],
        ):
            invoke([*arguments])  # imports, and fills the cache
        yield folder


def invoke(arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="variantlab")


def is_answered_or_refused(arguments: Sequence[str]) -> None:
    result = answered(lambda: invoke(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.output
    if result.exit_code:
        assert result.stderr.startswith("Error: ")
        assert result.stderr.removesuffix("\n").isprintable()


def files_in(folder: Path) -> set[Path]:
    """Wherever a path of the hostile ones could lead."""
    return {path for path in folder.parents[1].rglob("*") if not path.is_dir()}


def runs_in(folder: Path) -> list[str]:
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments(ViewType.ALL)]
    return [run.info.run_id for run in client.search_runs(experiments, run_view_type=ViewType.ALL)]


def takes(command: click.Command, option: str) -> bool:
    return any(parameter.name == option for parameter in command.params)


def without_digits(lists: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    """The lists with a folder of digits that is none: in error before anything is run, whatever else they say.

    The data set stands twice, since a list may end with an option whose value the first one becomes.
    """
    return st.builds(lambda line, folder: [*line, *["--dataset=idx"] * 2, f"--data-dir={folder}"], lists, HOSTILE)


def without_search(lists: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    """The lists with digits, and a run that is none; nor is there a search whose best could be evaluated."""
    return st.builds(lambda line, run: [*line, f"--from-run={run}", *NO_SEARCH], lists, HOSTILE)


PLANNED = [name for name, command in COMMANDS.items() if takes(command, "dry_run")]
NO_SEARCH = (
    "--dataset=idx",
    "--data-dir=digits",
    "--cache-dir=cache",
    "--samples=10",
    "--test-samples=5",
    "--preset=best",
)
LISTS = {
    **{
        name: without_digits(lists_for(name)) if takes(command, "data_dir") else lists_for(name)
        for name, command in COMMANDS.items()
        if name not in ("ui", "plan", "new")
    },
    "plan": without_digits(st.sampled_from(PLANNED).flatmap(lists_for).map(lambda line: ["plan", *line])),
    "evaluate of a run": without_search(lists_for("evaluate")),
}
"""Command -> lists of arguments. `ui` is left out, which would start servers and wait for Ctrl-C, and `new`, which
makes a folder of any name."""


@pytest.mark.parametrize("lists", LISTS.values(), ids=LISTS)
def test_every_list_of_arguments_is_answered_or_refused_in_one_line(
    folder: Path, lists: st.SearchStrategy[list[str]]
) -> None:
    @generated(scaled(5000, 192) // len(LISTS) + 1)
    @given(arguments=lists)
    def holds(arguments: list[str]) -> None:
        is_answered_or_refused(arguments)

    before = files_in(folder)
    holds()
    assert files_in(folder) == before
    assert runs_in(folder) == []


NO_DIGITS = ("--dataset=idx", "--data-dir=none-here")
LONG, DIGITS = "x" * 5000, "9" * 5000
FOUND = {
    "two lines": ["models", "mlp", "a\nb"],
    "terminal codes": ["compare", "--models=mlp", "\x07"],
    "samples": ["prepare", f"--samples={DIGITS}", *NO_DIGITS],
    "samples by their older name": ["prepare", f"--pairs={DIGITS}", *NO_DIGITS],
    "workers": ["evaluate", "--model=mlp", f"--workers={DIGITS}", *NO_DIGITS],
    "rounds": ["reproduce", f"000/table-2:{DIGITS}", *NO_DIGITS],
    "space": ["search", "--model=mlp", f"--space={LONG}", *NO_DIGITS],
    "space of a screening": ["search", "--model=mlp", "--sampler=screen", f"--space={LONG}", *NO_DIGITS],
    "space that is a link to itself": ["spaces", "check", "looped.yaml", "--model=mlp"],
    "study": ["search", "--model=mlp", "--study=a\udcff", *NO_DIGITS],
    "long study": ["search", "--model=mlp", f"--study={LONG}", *NO_DIGITS],
    "folder of digits": ["prepare", "--dataset=idx", f"--data-dir={LONG}"],
    "output": ["reproduce", "000/table-2", f"--output={LONG}", *NO_DIGITS],
}


@pytest.mark.parametrize("arguments", FOUND.values(), ids=FOUND)
def test_what_was_answered_otherwise_before_is_refused(folder: Path, arguments: list[str]) -> None:
    is_answered_or_refused(arguments)
    assert invoke(arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["models"], ["models", "mlp"], ["runs"], ["spaces", "check", "mine.yaml"]], ids=" ".join
)
def test_what_is_meant_is_answered(folder: Path, arguments: list[str]) -> None:
    is_answered_or_refused(arguments)
    assert invoke(arguments).exit_code == 0

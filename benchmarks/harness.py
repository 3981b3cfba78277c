"""One run: start the contestants, measure cell by cell and job by job, and put the page together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tqdm import tqdm

from benchmarks.cells import Cell, line
from benchmarks.contestants import ChildContestant, Contestant
from benchmarks.engine import COLUMNS, FLOAT32, Engine, open_engine
from benchmarks.jobs import JOB_TABLES, time_rows
from benchmarks.machine import this_machine, versions
from benchmarks.measure import Step, measure_cell, measure_peak
from benchmarks.own import NETWORKS, measure_own
from benchmarks.page import Page
from benchmarks.peers import Peer, gemm_peer, library_peers, plain_peers
from benchmarks.question import ask
from benchmarks.sections import cell_sections, job_section, method_section, own_section, question_section
from benchmarks.work import HEAVY_FLOPS, Task, flops_per_epoch, load_digits
from pipeline.base.errors import InputError
from pipeline.cli.terminal import Bar, Terminal
from pipeline.data.dataset import Dataset
from pipeline.tasks.registry import variants

BATCH_SIZES = (8, 25, 100)
CELL_SECONDS, HEAVY_CELL_SECONDS, ROW_SECONDS, OWN_SECONDS = 30.0, 80.0, 5.0, 12.0
"""What to expect, for the time left alone."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be measured."""

    models: list[str]
    batch_sizes: list[int] | None
    """None: the usual ones, and for heavy networks the largest of them."""
    contestants: list[str]
    """Besides the plain loops and the engine in float32."""
    repeats: int
    workers: int
    jobs: bool
    own: bool
    """Networks of one's own, and the question that a person asks."""
    whole: bool
    """Run the engine's side of the whole jobs in full."""
    cache_dir: Path

    def __post_init__(self) -> None:
        cores = this_machine().cores
        if self.workers > cores:
            there = "is 1 core" if cores == 1 else f"are {cores} cores"
            raise InputError(f"each worker needs a core of its own, but there {there} for --workers {self.workers}")


@dataclass(frozen=True, kw_only=True)
class Contest:
    """All who take part, ready to be measured."""

    plain: dict[int, ChildContestant]
    """By number of threads."""
    peers: list[ChildContestant]
    engines: list[Engine]
    """The first computes in float32."""


class Pace:
    """Moves a bar by the seconds that steps are expected to take."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._done = bar, 0.0

    def steps(self, seconds: float, label: str = "") -> Step:
        """What to call before each step of so many seconds."""

        def step(note: str) -> None:
            self._bar.update(self._done, f"  {label}{note}")
            self._done += seconds

        return step


def say(text: str) -> None:
    """Tell one thing now, above the bar."""
    tqdm.write(text, file=sys.stderr)


def run(plan: Plan) -> Page:
    """Measure everything in the plan. Raises VariantlabError when no trustworthy table comes of it."""
    digits = load_digits(plan.cache_dir)
    tasks = plan_tasks(plan, digits)
    tables = JOB_TABLES if plan.jobs else ()
    with ExitStack() as stack:
        contest = stack.enter_context(open_contest(plan, digits))
        gemm = stack.enter_context(open_peers([gemm_peer(plan.workers)]))[0]
        gemm.prepare(tasks[0])
        total = sum(map(_seconds, tasks)) + ROW_SECONDS * sum(len(table.rows) for table in tables)
        total += len(NETWORKS) * OWN_SECONDS * plan.own
        pace = Pace(stack.enter_context(Terminal().progress("Benchmark", total)))
        before = measure_peak(gemm)
        cells = [_measure(task, contest, plan, pace) for task in tasks]
        step = pace.steps(ROW_SECONDS)
        measured = [
            job_section(table, list(time_rows(table.rows, contest.engines[0], contest.plain, digits, plan.whole, step)))
            for table in tables
        ]
        own = [own_section(measure_own(plan.cache_dir, plan.repeats, pace.steps(OWN_SECONDS)))] if plan.own else []
        peaks = (before, measure_peak(gemm))
    if plan.own:  # when no other process is there any more
        own.append(question_section(ask(plan.cache_dir, say)))
    sections = [
        *cell_sections(cells, _names(contest.peers), _names(contest.engines), peaks),
        *measured,
        *own,
        method_section(plan.workers),
    ]
    return Page(day=date.today(), hardware=this_machine(), versions=versions(), sections=sections)


def plan_tasks(plan: Plan, digits: tuple[Dataset, Dataset]) -> list[Task]:
    """Each model at each batch size; what is not a model of digits in the registry is skipped with one line."""
    train, held_out = digits
    known = [name for name, variant in variants().items() if variant.task in ("pairs", "digits")]
    tasks = []
    for model in plan.models:
        if model not in known:
            say(f"{model} is not a model of digits in the registry; it is skipped")
            continue
        sizes = plan.batch_sizes or BATCH_SIZES
        row = [Task(model=model, batch_size=size, train=train, held_out=held_out) for size in sizes]
        is_spared = plan.batch_sizes is None and flops_per_epoch(row[0]) > HEAVY_FLOPS
        tasks += row[-1:] if is_spared else row
    if not tasks:
        raise InputError(f"--models must name a model of digits in the registry; choose from: {', '.join(known)}")
    return tasks


@contextmanager
def open_contest(plan: Plan, digits: tuple[Dataset, Dataset]) -> Iterator[Contest]:
    """Start whoever is wanted and installed, and wait until all have imported what they need."""
    wanted = [peer for peer in library_peers(plan.workers) if peer.name in plan.contestants]
    for peer in wanted:
        if not peer.is_installed:
            say(f"{peer.name} is not installed; it is skipped (pip install '.[bench]')")
    columns = [name for name in COLUMNS if name in {FLOAT32, *plan.contestants}]
    with ExitStack() as stack:
        engines = [stack.enter_context(open_engine(name, *digits, plan.workers)) for name in columns]
        plain = plain_peers(plan.workers)
        libraries = [peer for peer in wanted if peer.is_installed]
        peers = stack.enter_context(open_peers([*plain.values(), *libraries]))
        yield Contest(plain=dict(zip(plain, peers, strict=False)), peers=peers[len(plain) :], engines=engines)


@contextmanager
def open_peers(peers: Sequence[Peer]) -> Iterator[list[ChildContestant]]:
    """Start peers, which import at the same time, and wait for all: nothing is measured beside an import."""
    with ExitStack() as stack:
        contestants = [stack.enter_context(ChildContestant(peer)) for peer in peers]
        for contestant in contestants:
            contestant.wait_until_ready()
        yield contestants


def _measure(task: Task, contest: Contest, plan: Plan, pace: Pace) -> Cell:
    others: list[Contestant] = [*contest.peers, *contest.engines]
    steps = len(contest.plain) + len(others) + plan.repeats
    step = pace.steps(_seconds(task) / steps, f"{task.model}, batch {task.batch_size}: ")
    cell = measure_cell(task, contest.plain, others, repeats=plan.repeats, step=step)
    say(line(cell))
    return cell


def _seconds(task: Task) -> float:
    return HEAVY_CELL_SECONDS if flops_per_epoch(task) > HEAVY_FLOPS else CELL_SECONDS


def _names(contestants: Sequence[Contestant]) -> list[str]:
    return [contestant.name for contestant in contestants]

"""One run: measure chapter by chapter, and put the page together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import Pace, say
from benchmarks.machine import this_machine, versions
from benchmarks.page import RESULTS, Page, Section
from benchmarks.search import overhead, pruning
from benchmarks.search.contest import Measure, hold_contest
from benchmarks.search.contestants import Contestant, Result
from benchmarks.search.folds import FoldTask, make_task
from benchmarks.search.plan import Plan
from benchmarks.search.processes import run_search
from benchmarks.search.sections import contest_sections, method_section, overhead_section, pruning_section
from benchmarks.work import load_digits
from pipeline.base.errors import InputError
from pipeline.cli.terminal import Terminal

START_SECONDS, PEER_SECONDS, SECONDS, OVERHEAD_SECONDS = 10.0, 3.0, 1.0, 0.1
"""What to expect of a start, of a peer's trial, of one of variantlab's, and of one that trains nothing, for the time
left alone."""


class SearchPage(Page):
    """The page of this benchmark."""

    @property
    def default_path(self) -> Path:
        """The file that is named after the day, the benchmark and the machine."""
        return RESULTS / f"{self.day.isoformat()}-search-{self.hardware.slug}.md"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the chapters measure with."""

    plan: Plan
    task: FoldTask
    measure: Measure
    pace: Pace


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A part of the page that is measured by itself."""

    seconds: Callable[[Plan], float]
    """What it is expected to take."""
    write: Callable[[Bench], list[Section]]
    """Measure, and make sections of it."""


def run(plan: Plan) -> Page:
    """Measure everything in the plan. Raises VariantlabError when a contestant fails."""
    train, _ = load_digits(plan.cache_dir)
    task = make_task(train)
    chapters = [chapter for name, chapter in CHAPTERS.items() if name in plan.chapters]
    with Terminal().progress("Benchmark", sum(chapter.seconds(plan) for chapter in chapters)) as bar:
        pace = Pace(bar)

        def measure(contestant: Contestant, trials: int, seed: int) -> Result:
            label = f"{contestant.name}, {trials} trials, seed {seed}"
            pace.steps(_expected(contestant, trials))(label)
            result = run_search(contestant, task, trials, workers=plan.workers, cache_dir=plan.cache_dir, seed=seed)
            say(f"{label}: {result.seconds:.1f} s, best error {result.best:.2%}")
            return result

        bench = Bench(plan=plan, task=task, measure=measure, pace=pace)
        sections = [section for chapter in chapters for section in chapter.write(bench)]
    return SearchPage(
        day=date.today(),
        hardware=this_machine(),
        versions=_versions(),
        sections=[*sections, method_section(plan)],
    )


def installed(peers: Sequence[Contestant]) -> list[Contestant]:
    """Those whose library is there; each of the others is skipped with one line."""
    for peer in peers:
        if not peer.is_installed:
            say(f"{peer.name} is not installed; it is skipped (pip install '.[bench]')")
    found = [peer for peer in peers if peer.is_installed]
    if not found:
        raise InputError("--contestants must name an installed peer to compare with, such as optuna processes")
    return found


def _contest_seconds(plan: Plan) -> float:
    peers = sum(_expected(peer, plan.peer_trials) for peer in plan.peers)
    whole = _expected(plan.peers[0], plan.trials) if plan.whole and plan.peers else 0
    return plan.repeats * (peers + whole + sum(_expected(other, plan.trials) for other in plan.variantlabs))


def _contest(bench: Bench) -> list[Section]:
    contest = hold_contest(installed(bench.plan.peers), bench.plan, bench.measure)
    return contest_sections(contest, bench.task, [contestant.name for contestant in bench.plan.variantlabs])


def _pruning_seconds(_plan: Plan) -> float:
    return len(pruning.PRUNERS) * len(pruning.SEEDS) * (START_SECONDS + SECONDS * pruning.TRIALS)


def _pruning(bench: Bench) -> list[Section]:
    return [pruning_section(pruning.measure_pruning(bench.measure, bench.plan.population))]


def _overhead_seconds(plan: Plan) -> float:
    return OVERHEAD_SECONDS * plan.overhead_trials


def _overhead(bench: Bench) -> list[Section]:
    plan = bench.plan
    step = bench.pace.steps(OVERHEAD_SECONDS * plan.population)
    return [overhead_section(overhead.measure_overhead(plan.overhead_trials, plan.population, plan.cache_dir, step))]


CHAPTERS: Mapping[str, Chapter] = {
    "contest": Chapter(seconds=_contest_seconds, write=_contest),
    "pruning": Chapter(seconds=_pruning_seconds, write=_pruning),
    "overhead": Chapter(seconds=_overhead_seconds, write=_overhead),
}
"""In the order of the page."""


def _expected(contestant: Contestant, trials: int) -> float:
    return START_SECONDS + trials * (SECONDS if contestant.space else PEER_SECONDS)


def _versions() -> dict[str, str]:
    """Of Python and of what searches and trains; `versions` knows of the training alone."""
    searching = {name: version(name) for name in ("optuna", "mlflow", "ray") if find_spec(name)}
    return {name: text for name, text in versions().items() if name in ("Python", "torch", "numpy")} | searching

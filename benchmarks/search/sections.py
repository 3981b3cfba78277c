"""The sections of the page, with what a reader must know about each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import mean, median

from benchmarks.cells import ABSENT
from benchmarks.page import Section
from benchmarks.search import overhead, pruning
from benchmarks.search.contest import Contest
from benchmarks.search.contestants import EPOCHS, EVERYTHING_ON, Result
from benchmarks.search.folds import FoldTask
from benchmarks.search.overhead import Overhead
from benchmarks.search.plan import Plan
from benchmarks.search.pruning import NONE, Savings
from pipeline.reports.tables import Table

TIMES = """\
A trial is a {folds}-fold cross validation of `{model}` on {pairs} training pairs: {epochs} epochs, batch {batch}, Adam.
Learning rate and alpha are searched, and all have the same folds. `everything on` is variantlab with epochs from
{shortest} to {longest} and `{options}`.

Seconds are medians over the rounds. Where a peer made fewer trials than {trials}, its seconds for {trials} are
extrapolated by the trial, and its error is the best of the fewer. The ratio says how many times longer the fastest peer
of the same round takes for {trials} trials: median [least, greatest].
"""
REACHED = """\
When variantlab had finished a trial at least as good as the best of all peers in the same round; medians. The peers had
made {measured} trials for it. The ratio says how many times longer the fastest peer takes for {trials} trials; a round
in which variantlab did not get there counts as 0.
"""
PRUNING = """\
Searches of {trials} trials over learning rate, alpha and batch size: mean [least, greatest] over seeds {seeds}.
Replica-epochs are those trained, over all folds and trials; saved is the share of those without pruning that was not
trained. A difference is in points of validation error, below 0 where the search with pruning found a better one.
"""
OVERHEAD = """\
A search of {trials} trials whose findings are made up: {epochs} epochs of 5 folds. Medians over {window} trials.
Training waits while trials are proposed; what was found is kept in the study, in files and in MLflow beside the
training of the next trials.
"""
METHOD = """\
- One run, {workers} workers. Every search has processes of its own, which start for it and end with it.
- A peer's seconds do not hold its imports, its folds or the start of Ray. What Ray's workers need to start counts once
  and is not extrapolated. Variantlab's seconds are those of the whole command, its start included.
- Peers train {workers} trials at the same time, each on one thread and fold by fold, by a plain loop without data
  loader, on tensors that are prepared once. Variantlab trains {population} trials together, in {workers} workers.
- All propose by Optuna's TPE; variantlab tries its preset first. Optuna keeps its study in SQLite, Ray Tune its own
  files; variantlab keeps the study in SQLite and every trial in MLflow.
- The error of a trial is the mean over folds of the validation error after the last epoch. No test digit takes part.
"""


def contest_sections(contest: Contest, task: FoldTask, others: Sequence[str]) -> list[Section]:
    """What a search takes, and when `others` are as good as the peers."""
    times = TIMES.format(
        folds=task.folds,
        model=task.model,
        pairs=task.pairs,
        epochs=task.epochs,
        batch=task.batch_size,
        shortest=EPOCHS[0],
        longest=EPOCHS[1],
        options=" ".join(EVERYTHING_ON),
        trials=contest.trials,
    )
    sections = [Section(title="Time of a search", tables=[time_table(contest)], text=times)]
    if others:
        measured = _counts(result for peer in contest.peers for result in contest.results(peer))
        text = REACHED.format(measured=measured, trials=contest.trials)
        table = reached_table(contest, others)
        sections.append(Section(title="Time to the same best error", tables=[table], text=text))
    return sections


def time_table(contest: Contest) -> Table:
    """What a search takes and finds."""
    rows = []
    for name in contest.rounds[0]:
        results, seconds = contest.results(name), contest.seconds(name)
        rows.append(
            [
                f"`{name}`",
                f"{_counts(results)} of {contest.trials}",
                f"{median(result.seconds for result in results):.1f}",
                f"{median(seconds):.1f}",
                f"{median(seconds) / contest.trials:.2f}",
                _percent(median(result.best for result in results)),
                str(contest.times_faster(seconds)),
            ]
        )
    of_all = f"seconds for {contest.trials}"
    headers = ["contestant", "trials measured", "seconds", of_all, "seconds a trial", "best validation error"]
    return Table([*headers, "fastest peer / it"], rows)


def reached_table(contest: Contest, names: Sequence[str]) -> Table:
    """When these found what the peers had found."""
    target, fastest = _percent(median(contest.targets)), f"{median(contest.fastest):.1f}"
    rows = []
    for name in names:
        seconds = contest.reached(name)
        after = f"{median(seconds):.1f}" if math.isfinite(median(seconds)) else "not reached"
        rows.append([f"`{name}`", target, after, fastest, str(contest.times_faster(seconds))])
    headers = ["contestant", "best of the peers", "seconds until then", f"fastest peer's for {contest.trials}", "ratio"]
    return Table(headers, rows)


def pruning_section(savings: Savings) -> Section:
    """What each pruner saved and lost."""
    rows = []
    for pruner in savings.results:
        epochs, best = savings.epochs(pruner), savings.best(pruner)
        row = [f"`{pruner}`", _over_seeds(epochs, "{:,.0f}".format), _over_seeds(best, _percent)]
        saved, lost = _over_seeds(savings.saved(pruner), "{:.0%}".format), _over_seeds(savings.lost(pruner), _points)
        rows.append([*row, saved, lost] if pruner != NONE else [*row, ABSENT, ABSENT])
    text = PRUNING.format(trials=pruning.TRIALS, seeds=", ".join(map(str, pruning.SEEDS)))
    table = Table(["pruner", "replica-epochs", "best validation error", "saved", "difference"], rows)
    return Section(title="Pruning", tables=[table], text=text)


def overhead_section(measured: Overhead) -> Section:
    """What a trial takes besides its training, from the first to the last."""
    trials = len(measured.waiting_N)
    rows = [
        [trial, *(f"{1000 * seconds:.0f}" for seconds in measured.at(trial))]
        for trial in overhead.AT
        if trial <= trials
    ]
    text = OVERHEAD.format(trials=trials, epochs=overhead.EPOCHS, window=overhead.WINDOW)
    table = Table(["trial", "training waits (ms)", "beside training (ms)"], rows)
    return Section(title="Overhead", tables=[table], text=text, picture=measured.picture())


def method_section(plan: Plan) -> Section:
    """How it was measured."""
    text = METHOD.format(workers=plan.workers, population=plan.population)
    return Section(title="How it was measured", text=text)


def _over_seeds(values: Sequence[float], shown: Callable[[float], str]) -> str:
    return f"{shown(mean(values))} [{shown(min(values))}, {shown(max(values))}]"


def _counts(results: Iterable[Result]) -> str:
    return " or ".join(map(str, sorted({result.trials for result in results})))


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"

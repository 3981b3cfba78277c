"""The sections of the page, with what a reader must know about each."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cells import Cell, engine_table, ratio_table, time_table
from benchmarks.jobs import GRID_EPOCHS, JobTable, RowTimes
from benchmarks.measure import CHECKED_EPOCHS, TARGET_SECONDS, TOLERANCE
from benchmarks.own import OwnCell, own_table
from benchmarks.page import Section
from benchmarks.question import SEEDS, Answer, question_table
from benchmarks.work import GEMM_SIZE
from pipeline.reports.tables import Table

CELLS = """\
Milliseconds per epoch and replica: 1,000 training pairs in a fresh order, then the error on 100 held-out pairs.
`plain 1` is the ordinary loop on one thread; `float32`, `bfloat16` and `compiled` are columns of variantlab.
"""
RATIOS = """\
How many times longer the better plain loop of the same round takes: median [least, greatest] over the rounds.
"""
PEAK = """\
Of the peak: an epoch's FLOPs over its time, against float32 products of {size} x {size} in all workers at once:
{before:.0f} GFLOP/s before the run, {after:.0f} after it; the greater is used.
"""
EVALUATIONS = """\
Each variant in 20 rounds at its preset, with the error on 1,000 held-out pairs after each epoch.
"""
GRID = """\
Ten rounds of ten folds for each cell of epochs {epochs} x batch size. The engine trains {longest} epochs once and reads
the shorter cells off; the plain loop trains every cell, as people do. The ratio without reading off compares with a
plain loop that trains {longest} epochs once too.
"""
EXTRAPOLATED = """\
Times are extrapolated from the replica-epochs that the last columns say were measured. A part of the engine's job
overstates its time, because building a job and the last evaluation weigh more in it.
"""
OWN = """\
Milliseconds per epoch and replica of networks that variantlab does not know, on 1,000 of scikit-learn's digits at batch
25, with the error on 100 held-out ones after each epoch. Both loops run in one process on one thread; building the
networks counts. Ratios are the loop by hand over the engine, formed within a round: median [least, greatest].
"""
QUESTION = """\
Which of two networks (64-64-64-10 and 64-128-64-10) is better on scikit-learn's digits? {seeds} seeds each, 25 epochs,
batch 25; the whole process, from its start to the verdict. Where fewer seeds were trained, the time is extrapolated by
the seed, without the start.
"""
METHOD = """\
- One run, {workers} workers. Contestants live in processes of their own (the engine in its workers) and are measured in
  turn, round by round, by the wall clock of the process that tells them to train; shown are medians.
- Every measurement is a training from the initial weights, after an untimed one for imports, allocation and
  compilation. It lasts about {seconds} seconds or, for the engine, as long as a job that fills all workers.
- All do the same: Adam at 1e-3, the same pairs and initial weights for replica r, the running training loss, and the
  held-out error after each epoch. A training loss that is more than {tolerance:.0%} off the plain loop's after {epochs}
  epochs ends the run without a page.
- `skorch` and `lightning` train one replica with as many threads as were better for the plain loop; `jax` trains four
  replicas in each of {workers} processes, which have a core each.
"""


def cell_sections(
    cells: Sequence[Cell], peers: Sequence[str], columns: Sequence[str], peaks: tuple[float, float]
) -> list[Section]:
    """Times, ratios, and the engine against jax and the peak."""
    before, after = (peak / 1e9 for peak in peaks)
    about_peak = PEAK.format(size=GEMM_SIZE, before=before, after=after)
    return [
        Section(title="Time", tables=[time_table(cells, [*peers, *columns])], text=CELLS),
        Section(title="Against the plain loop", tables=[ratio_table(cells, [*peers, *columns])], text=RATIOS),
        Section(
            title="Against JAX, and of the peak", tables=[engine_table(cells, columns, max(peaks))], text=about_peak
        ),
    ]


def own_section(cells: Sequence[OwnCell]) -> Section:
    """Networks of one's own."""
    return Section(title="Networks of one's own", tables=[own_table(cells)], text=OWN)


def question_section(answers: list[Answer]) -> Section:
    """A question as people ask it."""
    return Section(
        title="From the question to the verdict", tables=[question_table(answers)], text=QUESTION.format(seeds=SEEDS)
    )


def job_section(table: JobTable, times: Sequence[RowTimes]) -> Section:
    """One table of the report."""
    is_grid = any(len(row.epochs) > 1 for row in table.rows)
    epochs = f"{{{', '.join(map(str, GRID_EPOCHS))}}}"
    about = GRID.format(epochs=epochs, longest=max(GRID_EPOCHS)) if is_grid else EVALUATIONS
    return Section(title=table.title, tables=[_jobs_table(times, is_grid)], text=about + EXTRAPOLATED)


def _jobs_table(times: Sequence[RowTimes], is_grid: bool) -> Table:
    """Row by row and in all; with the ratio of a plain loop that reads off, if there is something to read off."""
    rows = []
    for part in times:
        plain = f"{_duration(part.plain)} ({part.threads} thr.)"
        measured = [
            f"{part.plain_measured} of {part.plain_planned}",
            f"{part.engine_measured} of {part.engine_planned}",
        ]
        rows.append([f"`{part.row.model}`", str(part.row.batch_size), plain, *_compared([part], is_grid), *measured])
    total = ["all", "", _duration(sum(part.plain for part in times)), *_compared(times, is_grid), "", ""]
    headers = ["model", "batch", "plain", "variantlab", "ratio", *["without reading off"] * is_grid]
    return Table([*headers, "plain: measured replica-epochs", "variantlab: measured replica-epochs"], [*rows, total])


def _compared(times: Sequence[RowTimes], is_grid: bool) -> list[str]:
    """The engine's time, and how many times longer the plain loop takes."""
    plain, once, engine = (sum(getattr(part, name) for part in times) for name in ("plain", "plain_once", "engine"))
    return [_duration(engine), f"{plain / engine:.2f}", *[f"{once / engine:.2f}"] * is_grid]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def method_section(workers: int) -> Section:
    """How it was measured."""
    text = METHOD.format(workers=workers, seconds=TARGET_SECONDS, tolerance=TOLERANCE, epochs=CHECKED_EPOCHS)
    return Section(title="How it was measured", text=text)

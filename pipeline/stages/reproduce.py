"""reproduce: the tables of the reports at their own protocol, each figure beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.base.errors import InputError
from pipeline.base.files import check_writable, write_whole
from pipeline.stages.comparing.page import log_page
from pipeline.stages.comparing.pictures import Picture
from pipeline.stages.planning import Work
from pipeline.stages.reproducing.cells import AGREES, DIFFERS, NO_SPREAD, counted
from pipeline.stages.reproducing.config import ReproduceConfig
from pipeline.stages.reproducing.document import document, overview
from pipeline.stages.reproducing.pictures import pictures
from pipeline.stages.reproducing.reproduced import Reproduced
from pipeline.stages.reproducing.runner import TableRunner
from pipeline.stages.reproducing.runners import runner_of
from pipeline.stages.stage import Answer, Reporter, StageResult, open_store
from pipeline.tasks.subjects import kept
from pipeline.tracking.port import PUBLISHED, Metric, Run, RunStart, Tracker, stage_run

NOTES = (
    "Errors and accuracies are in percent, mean ± standard deviation over rounds. Figures agree when their means are "
    "no further apart than chance puts nineteen of twenty (Welch's t test). Train errors are those of all training "
    "samples after the last epoch; for an earlier one there is none.",
    "Conclusions are tested on differences in test error within rounds, in which all rows see the same samples: "
    "permutation tests (for folds the corrected t test), corrected for the number of conclusions of the table (Holm). "
    "Detectable is the least difference, in percentage points, that so many rounds would have shown in four of five "
    "cases.",
)


def plan(config: ReproduceConfig, tracker: Tracker) -> list[Work]:
    """What would have to be measured, table by table."""
    planned: set[object] = set()
    with kept():
        return [work for table in config.chosen for work in runner_of(config, table, tracker).plan(planned)]


def run(config: ReproduceConfig, tracker: Tracker, reporter: Reporter, shown: Callable[[Answer], None]) -> None:
    """Measure what the tables need and is not there yet; `shown` is given each table as soon as it is there.

    Raises InputError before anything is measured for an unknown table, or for an output in no folder.
    """
    tables, output = config.chosen, Path(config.output).absolute()
    if config.output:
        try:
            check_writable(output)
        except OSError as error:  # such as a name that is too long
            raise InputError(
                f"--output must be a file that can be written in a folder that exists, but {config.output}: "
                f"{error.strerror}"
            ) from error
    open_store(tracker, reporter)
    done = []
    for table in tables:
        result, reproduced = _reproduce(runner_of(config, table, tracker), reporter)
        shown(result)
        done.append(reproduced)
    cells = [cell for reproduced in done for cell in reproduced.cells]
    shown(Answer(headline=f"{len(done)} table(s): {counted(cells)}", table=overview(done), notes=NOTES))
    if config.output:
        write_whole(output, document(done, NOTES).encode())
        reporter.say(f"wrote {config.output}")


def _reproduce(runner: TableRunner, reporter: Reporter) -> tuple[StageResult, Reproduced]:
    table, tracker = runner.table, runner.tracker
    start = RunStart(
        name=f"reproduce {table.id}",
        role="reproduce",
        params={**runner.sampling(table.rows[0]).params, "table": table.id, "rounds": runner.rounds},
        tags={"table": table.id},
        purpose=PUBLISHED,
        data=runner.splits(table.rows[0]),
        test_data=table.protocol.stage == "evaluate",
    )
    with stage_run(tracker, start) as run:
        reproduced = Reproduced(runner=runner, measured=runner.measure(reporter, run))
        shown = pictures(reproduced)
        first, *more = reproduced.tables.values() or [overview([reproduced])]
        result = StageResult(
            run_id=run.id,
            headline=f"{table.id}, {table.title}: {counted(reproduced.cells)} ({reproduced.protocol})",
            table=first,
            more=more,
            notes=table.notes,
        )
        explained = replace(result, notes=[*table.notes, *NOTES])
        _log(run, explained, reproduced, shown)
        run.describe(explained.description)
    return result, reproduced


def _log(run: Run, result: StageResult, reproduced: Reproduced, shown: Sequence[Picture]) -> None:
    """Keep the tables in all their forms, the pictures as PNG and SVG, and one page of all."""
    run.log(
        metrics=[
            Metric("figures", len(reproduced.cells)),
            Metric("figures_agree", reproduced.count(AGREES)),
            Metric("figures_differ", reproduced.count(DIFFERS)),
            Metric("figures_without_spread", reproduced.count(NO_SPREAD)),
            *(Metric(f"conclusions/{name.replace(' ', '_')}", n) for name, n in reproduced.outcomes().items()),
        ],
        tags={"source_runs": ",".join(run.id for _, run in reproduced.sources)},
    )
    log_page(run, reproduced.table.title, result, reproduced.tables, shown)

"""search: Optuna over a space, the objective being the mean validation metric of K-fold cross validation.

Only training samples take part: the workers are not even given the test data. The study is the record; the MLflow
runs are a projection of it that can be made again at any time.
"""

from __future__ import annotations

from contextlib import closing

from pipeline.base.durations import show_seconds
from pipeline.base.errors import StageError
from pipeline.stages.replicas import explained, training_tags
from pipeline.stages.searching.batches import TrialBatches
from pipeline.stages.searching.clock import Clock
from pipeline.stages.searching.config import SearchConfig, inputs
from pipeline.stages.searching.context import SearchContext
from pipeline.stages.searching.recheck import recheck, recheck_jobs
from pipeline.stages.searching.result import SearchResult, error_of
from pipeline.stages.searching.trial_runs import RUN_STATUS, TrialRuns
from pipeline.stages.stage import ROUNDS_OTHERWISE, Reporter, StageResult, log_composition, open_store
from pipeline.tracking.port import Metric, Run, RunStart, Tracker, config_tags, stage_run, variant_params, variant_tags
from pipeline.training.machine import arithmetic, this_machine
from pipeline.training.pool import Trainer
from pipeline.tuning.dashboard import StudyPages
from pipeline.tuning.lease import LeaseLostError, free_abandoned, leased
from pipeline.tuning.ledger import Ledger, check_protocol
from pipeline.tuning.storage import open_storage
from pipeline.tuning.trials import TrialRecord

SHOWN_TRIALS = 5


def run(config: SearchConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Search until the study has its trials; log one child run a trial and the best configuration.

    Raises StageError when no trial is complete.
    """
    subject, space = inputs(config)
    variant, splits = subject.variant, subject.splits
    name, protocol = config.study_name(space, variant, splits), config.protocol(space, variant, splits)
    for line in explained(subject):
        reporter.say(line)
    with closing(open_storage(config.storage)) as storage:
        open_store(tracker, reporter, storage.retry(lambda: free_abandoned(storage)))
        clock = Clock(tracker)
        start = RunStart(
            name=f"search {variant.name}",
            role="search",
            params={**variant_params(variant), **config.params, "space_digest": space.digest[:12]},
            tags={**variant_tags(variant), **training_tags(variant, space.preset.structure), "study": name},
            data=splits,
        )
        with (
            leased(storage, name, reporter.say, lambda: check_protocol(storage, name, protocol)) as given_up,
            Trainer(splits.train, splits.train, config.compute) as trainer,
        ):
            if given_up:
                tracker.repair(given_up)
            ledger = Ledger.open(storage, name, protocol, config.method(space))
            ledger.note_machine(this_machine())
            pages = StudyPages(storage, name, config.artifacts)
            found = SearchResult(
                variant=variant, space=space, config=config, samples=config.sampling.fold_count(splits, config.folds)
            )
            with stage_run(tracker, start, parent) as run:
                context = SearchContext(
                    config=config,
                    variant=variant,
                    splits=splits,
                    ledger=ledger,
                    pages=pages,
                    tracker=tracker,
                    run=run,
                    trainer=trainer,
                    clock=clock,
                    reporter=reporter,
                )
                runs = TrialRuns(context)
                try:
                    return _go_on(context, found, runs)
                except LeaseLostError:
                    runs.let_go()
                    raise


def _go_on(context: SearchContext, found: SearchResult, runs: TrialRuns) -> StageResult:
    """Search from where the study is to its end."""
    ledger = context.ledger
    batches = TrialBatches(context, runs)
    if len(ledger.records()) < ledger.planned:
        context.trainer.warm_up()
    runs.take_up()
    runs.project()
    _link(context)
    if done := len(ledger.records()):
        context.reporter.say(f"study {ledger.name} goes on: {done} trials are finished, {ledger.planned} wanted")
    stopped = batches.go_on(found)
    runs.project()
    return _finish(context, _rechecked(context, found.with_records(ledger.records())), runs, stopped)


def _rechecked(context: SearchContext, found: SearchResult) -> SearchResult:
    """With what trying the best again gives, which is done once for the same best."""
    best = found.ranked[: context.config.recheck]
    if not best:
        return found
    kept = context.ledger.rechecked
    if kept is None or kept.fold_errors.keys() != {record.number for record in best}:
        jobs = recheck_jobs(context.config, context.variant, context.splits, best)
        context.ledger.keep_recheck(recheck(context.trainer, jobs, best, context.reporter))
    return found.with_records(found.records, context.ledger.rechecked)


def _link(context: SearchContext) -> None:
    """Let each of run and study say where the other is."""
    run, pages = context.run, context.pages
    run.log(tags={"study_id": context.ledger.id, "dashboard": pages.link()})
    pages.note(f"Searched by MLflow [run {run.id}]({context.tracker.link(run.id)}).")


def _finish(context: SearchContext, found: SearchResult, runs: TrialRuns, stopped: str) -> StageResult:
    """Log what was found and what it cost."""
    # A second to import, for which training would wait at the start.
    from pipeline.stages.searching.pictures import log_pictures

    run, ledger, pages, records = context.run, context.ledger, context.pages, found.records
    chosen = found.chosen
    if chosen is None:
        reasons = sorted({record.reason for record in records}) or [stopped]
        raise StageError(f"no trial of study {ledger.name} could be completed: {'; '.join(reasons)}")
    log_pictures(found, chosen, run, pages)
    if found.config.cost:
        front = found.table(found.front)
        run.text("front.md", front.markdown())
        run.text("front.csv", front.csv())
    if found.recheck is not None:
        for record in found.rechecked:
            runs.log_recheck(record.number, found.rechecked_error(record))
    log_composition(run, context.trainer)
    everything = found.table(sorted(records, key=lambda record: record.number))
    run.text("trials.csv", everything.csv())
    run.text("trials.md", everything.markdown())
    again = found.rechecked
    shown = [*again, *(record for record in found.ranked if record not in again)]
    before = {"the start before, with its trials": context.tracker.reference(runs.continues)} if runs.continues else {}
    result = StageResult(
        run_id=run.id,
        headline=found.headline(chosen),
        table=found.table((found.front if found.config.cost else shown)[:SHOWN_TRIALS]),
        notes=_notes(found, stopped, ledger, context.clock),
        links={
            f"the best trial, {chosen.number}": runs.reference(chosen.number),
            f"the study {ledger.name} in optuna-dashboard": pages.link(),
            **before,
        },
    )
    _log_metrics(found, chosen, run, context.clock)
    run.describe(result.description)
    pages.note(f"{result.headline}\n\nIn MLflow: [run {run.id}]({context.tracker.link(run.id)}).")
    return result


def _notes(found: SearchResult, stopped: str, ledger: Ledger, clock: Clock) -> list[str]:
    states = [record.state for record in found.records]
    counts = ", ".join(f"{states.count(state)} {state}" for state in RUN_STATUS)
    ended = f" It {stopped}; the same command with more goes on." if stopped else ""
    whole, read, pruned = found.saved
    notes = [f"Study `{ledger.name}`: {counts} trials; the best are shown.{ended}"]
    notes += _computed_otherwise(ledger)
    if found.recheck is not None:
        notes.append(
            f"The best {len(found.recheck.fold_errors)} were tried again on fresh samples, folds and weights, and the "
            f"best of these was chosen: the best of many results is too good to be true. `evaluate` measures it on "
            f"test data."
        )
    else:
        notes.append("The best of many validations is optimistic: `evaluate` measures it on test data.")
    notes.append(
        f"The study took {found.replica_epochs} replica-epochs in {show_seconds(found.seconds)}; of the {whole} of its "
        f"trials {read / whole:.0%} were read off others and {pruned / whole:.0%} pruned."
    )
    notes.append(
        f"This start took {show_seconds(clock.seconds)}; for {clock.recorded / clock.seconds:.1%} of it training "
        f"waited for MLflow and the study."
    )
    return notes


def _computed_otherwise(ledger: Ledger) -> list[str]:
    """Which trials were computed with which instructions and which torch, where there are several."""
    trials: dict[str, list[int]] = {}
    for record in ledger.records():
        if way := arithmetic(ledger.machine_of(record.number)):
            trials.setdefault(way, []).append(record.number)
    if len(trials) < 2:
        return []
    ways = "; ".join(f"{way}: {len(numbers)} trials from {numbers[0]}" for way, numbers in trials.items())
    return [f"Not all trials were computed alike ({ways}); {ROUNDS_OTHERWISE}."]


def _log_metrics(found: SearchResult, chosen: TrialRecord, run: Run, clock: Clock) -> None:
    states = [record.state for record in found.records]
    first, *others = found.variant.metrics
    metrics = [
        Metric(f"cv_validation_{first.name}", error_of(chosen)),
        Metric("cv_best", error_of(chosen)),
        *(Metric(f"trials_{state}", states.count(state)) for state in RUN_STATUS),
        Metric("trials", len(found.records)),
        Metric("replica_epochs", found.replica_epochs),
        Metric("search_seconds", found.seconds),
        Metric("seconds", clock.seconds),
        Metric("tracking_seconds", clock.recorded),
        Metric("tracking_share", clock.recorded / clock.seconds),
    ]
    whole, read, pruned = found.saved
    metrics += [Metric("saved_by_reuse", read / whole), Metric("saved_by_pruning", pruned / whole)]
    if found.rechecked:
        metrics.append(Metric("cv_recheck", found.rechecked_error(chosen)))
    for metric in others:
        if values := chosen.curves.get(f"validation_{metric.name}"):
            metrics.append(Metric(f"cv_validation_{metric.name}", values[-1]))
    if found.baseline is not None:
        metrics.append(Metric(f"preset_cv_validation_{first.name}", error_of(found.baseline)))
    run.log(metrics=metrics, tags={**config_tags(chosen.hyper), "best_trial": str(chosen.number)})

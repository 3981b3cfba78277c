"""evaluate: the final measurement, rounds of fresh data and weights, on test samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.base.errors import InputError, StageError, UnknownNameError
from pipeline.data.dataset import Splits
from pipeline.models.checked_pt2 import ExportError, prepare
from pipeline.models.exported import Exported, trained_network
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.own.recorded import code_of
from pipeline.models.variant import Variant
from pipeline.reports.crossed import UNBOUNDED, summarise_crossed
from pipeline.reports.figures import error_by_epoch, learning_curves
from pipeline.reports.statistics import summarise
from pipeline.reports.tables import Table
from pipeline.stages.comparing.evaluations import by_epoch_file
from pipeline.stages.comparing.shared_samples import FILE as LOSSES_FILE
from pipeline.stages.comparing.shared_samples import draws_of, losses_of, reading_of, to_csv
from pipeline.stages.configurations import parse_changes
from pipeline.stages.planning import Work
from pipeline.stages.registering import check_name, register
from pipeline.stages.replicas import (
    RESAMPLINGS,
    curves_of,
    explained,
    metric_series,
    open_stage,
    round_replicas,
    training_tags,
)
from pipeline.stages.stage import (
    Reporter,
    Sampling,
    StageResult,
    log_composition,
    open_store,
    show_hyper,
    show_others,
)
from pipeline.tasks.subjects import Model, Subject, variant_for
from pipeline.tracking.port import (
    Metric,
    ModelToLog,
    Run,
    RunRecord,
    RunStart,
    Tracker,
    config_tags,
    curve,
    stage_run,
    variant_params,
    variant_tags,
)
from pipeline.training.compute import Compute
from pipeline.training.estimators import EstimatorTraining
from pipeline.training.plan import Job, Outcome, Replica
from pipeline.training.pool import Trainer

Losses = Mapping[str, NDArray[np.float64] | None]
"""`test_<metric>` -> (R, N), where every round is tested on the same samples."""
PRESETS = ("best", "report", "default")
EXAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to evaluate."""

    sampling: Sampling
    model: Model
    rounds: int = 20
    preset: str = "best"
    """`best`: of the newest finished search of this model on this data set; `report` or `default`: its preset."""
    from_run: str = ""
    """Id of a run whose configuration to take instead: a search, trial, cross_validate, cell or evaluate run."""
    register: str = ""
    """Name of a registered model whose next version the median round's network becomes; empty for none."""
    changes: str = ""
    """Values to change in that configuration, such as `optimiser=sgd batch_norm=on`."""
    resampling: str = "none"
    """What a round does with its training samples: `none`, or `bootstrap`, as many drawn from them with replacement."""
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= 10_000:
            raise InputError(f"--rounds must be between 1 and 10000, but got {self.rounds}")
        for kind, value, known in (("preset", self.preset, PRESETS), ("resampling", self.resampling, RESAMPLINGS)):
            if value not in known:
                raise UnknownNameError(kind, value, known)
        check_name(self.register)


def inputs(config: EvaluateConfig) -> Subject:
    """The variant with its data, which suffice for the samples that are asked for."""
    variant = variant_for(config.model, config.sampling.data)
    parse_changes(config.changes, variant.preset, variant)
    subject = open_stage(config.model, config.sampling, config.compute)
    round_replicas(subject.splits, config.sampling, subject.variant.preset, rounds=1, resampling=config.resampling)
    return subject


def plan(config: EvaluateConfig, tracker: Tracker) -> list[Work]:
    """All rounds."""
    subject = inputs(config)
    variant, splits = subject.variant, subject.splits
    hyper, origin = _configuration(config, variant, splits, tracker)
    replicas = round_replicas(splits, config.sampling, hyper, rounds=config.rounds, resampling=config.resampling)
    source = "the preset" if origin is None else f"the configuration of run {origin.name}"
    return [
        Work(
            what=f"evaluate {variant.name}",
            trainings=f"{config.rounds} rounds",
            jobs=[Job(variant=variant, replicas=replicas)],
            test_data=True,
            note=" ".join(
                [f"Takes {source}: {show_hyper(variant, hyper)}.", *(f"{line}." for line in explained(subject))]
            ),
        )
    ]


def run(config: EvaluateConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Train and test in every round; log metrics with intervals, curves, what the task shows, and the median model."""
    sampling, subject = config.sampling, inputs(config)
    variant, splits = subject.variant, subject.splits
    hyper, origin = _configuration(config, variant, splits, tracker)
    replicas = round_replicas(splits, sampling, hyper, rounds=config.rounds, resampling=config.resampling)
    draws, trained = draws_of(splits, replicas), training_tags(variant, hyper.structure)
    open_store(tracker, reporter)
    for line in explained(subject):
        reporter.say(line)
    start = RunStart(
        name=f"evaluate {variant.name}",
        role="evaluate",
        params={
            **variant_params(variant),
            **sampling.params,
            **variant.shown(hyper),
            **config.compute.params,
            "rounds": config.rounds,
            **_resampling(config),
            **search_budget(origin),
        },
        tags={**variant_tags(variant), **config_tags(hyper), **_origin_tags(origin), **trained, **draws},
        data=splits,
        test_data=True,
    )
    with Trainer(splits.train, splits.test, config.compute) as trainer, stage_run(tracker, start, parent) as run:
        job = Job(variant=variant, replicas=replicas, keep_models=True)
        with reporter.progress(f"evaluate {variant.name}", job.replica_epochs) as bar:
            [outcomes] = trainer.run([job], lambda done, _: bar.update(done), prepare)
        failed = [f"round {number}: {outcome.reason}" for number, outcome in enumerate(outcomes) if outcome.has_failed]
        if failed:
            raise StageError(
                f"every round must end with a finite loss, but {len(failed)} of {len(outcomes)} did not "
                f"({failed[0]}); choose a smaller learning rate if it diverged"
            )
        losses = {f"test_{metric.name}": losses_of(metric, splits, replicas, outcomes) for metric in variant.metrics}
        _log_outcomes(run, variant, hyper, outcomes, losses)
        is_kept = losses[f"test_{variant.metric.name}"] is not None
        covered = reading_of({**_resampling(config), **draws}, config.rounds, losses=is_kept)
        promised = {} if origin is None or config.changes else _promised(origin, variant)
        run.log(metrics=_optimism(promised, outcomes, variant))
        _keep_errors(run, subject, replicas, outcomes)
        log_composition(run, trainer)
        median = _median_round(outcomes, variant)
        is_logged, logged = _log_model(run, variant, splits, replicas[median], outcomes[median])
        result = _result(run, variant, hyper, origin, outcomes, losses, promised, covered)
        result = replace(result, notes=[*result.notes, logged], links=_links(origin, tracker))
        if config.register and is_logged:
            registered = register(config.register, run, tracker)
            result = replace(
                result,
                notes=[*result.notes, registered.note],
                links={**result.links, **registered.links},
            )
        run.describe(result.description)
    if origin is not None:
        measured = f"\n\nMeasured on test data: [{result.headline}]({tracker.reference(run.id)})."
        tracker.reopen(origin).describe(f"{origin.description}{measured}")
    return result


def _resampling(config: EvaluateConfig) -> dict[str, str]:
    return {"resampling": config.resampling} if config.resampling != "none" else {}


def _configuration(
    config: EvaluateConfig, variant: Variant, splits: Splits, tracker: Tracker
) -> tuple[Hyperparameters, RunRecord | None]:
    """What is evaluated, and the run that it comes from (None for the report's)."""
    chosen, origin = _choose(config, variant, splits, tracker)
    return parse_changes(config.changes, chosen, variant), origin


def _choose(
    config: EvaluateConfig, variant: Variant, splits: Splits, tracker: Tracker
) -> tuple[Hyperparameters, RunRecord | None]:
    """The configuration to evaluate and the run that it comes from (None for the report's)."""
    if config.from_run:
        record = tracker.get(config.from_run)
        if record.config is None or record.tags.get("model") != variant.name:
            raise InputError(
                f"--from-run must name a run with one configuration of {variant.name}, but {config.from_run} is "
                f"{record.tags.get('role', 'another')} run of {record.tags.get('model', 'no model')}"
            )
        return variant.check(variant.completed(record.config)), record
    if config.preset != "best":
        return variant.preset, None
    found = tracker.find("search", model=variant.name, dataset_digest=splits.digest)
    finished = [record for record in found if record.status == "FINISHED" and record.config is not None]
    for record in finished:
        if code_of(record.tags) == variant.code:
            assert record.config is not None
            return variant.check(variant.completed(record.config)), record
    there, way = (
        ("none", "")
        if not finished
        else ("only one of another version of its code", f", or take that one with --from-run {finished[0].id}")
    )
    raise InputError(
        f"--preset best needs a finished search of {variant.name} on these data ({splits.label}), but there is "
        f"{there}; run search first{way}, or choose --preset {'default' if variant.foreign else 'report'}"
    )


def _origin_tags(origin: RunRecord | None) -> dict[str, str]:
    """Where a configuration comes from: the run, and if it was searched the study and the trial."""
    if origin is None:
        return {"config_from": ""}
    trial = origin.tags.get("trial", origin.tags.get("best_trial"))
    return {
        "config_from": origin.id,
        **({"study": origin.tags["study"]} if "study" in origin.tags else {}),
        **({"trial": trial} if trial is not None else {}),
    }


def _links(origin: RunRecord | None, tracker: Tracker) -> dict[str, str]:
    """The same as pages."""
    if origin is None:
        return {}
    links = {origin.name: tracker.reference(origin.id)}
    for trial in tracker.find(
        "trial", study_id=origin.tags.get("study_id", "-"), trial=origin.tags.get("best_trial", "-")
    ):
        links[trial.name] = tracker.reference(trial.id)
    if "dashboard" in origin.tags:
        links["optuna-dashboard"] = origin.tags["dashboard"]
    return links


def search_budget(origin: RunRecord | None) -> dict[str, str]:
    """What was spent on finding a configuration, as params of the run that measures it; nothing for the report's."""
    if origin is None or origin.tags.get("role") != "search":
        return {}
    return {
        "search_sampler": origin.params["sampler"],
        "search_space": origin.params["space_digest"],
        "search_wanted": origin.params["n_trials"],
        **{f"search_{name}": f"{origin.metrics[name]:.0f}" for name in ("trials", "replica_epochs")},
        "search_seconds": f"{origin.metrics['search_seconds']:.1f}",
    }


def _promised(origin: RunRecord, variant: Variant) -> dict[str, float]:
    """The validation metrics that a configuration was chosen by."""
    found = {name: origin.metrics.get(name) for name in ("cv_best", "cv_recheck")}
    if found["cv_best"] is None:
        found["cv_best"] = origin.metrics.get(f"cv_validation_{variant.metric.name}")
    return {name: value for name, value in found.items() if value is not None}


def _optimism(promised: Mapping[str, float], outcomes: Sequence[Outcome], variant: Variant) -> list[Metric]:
    """Those, and by how much the test metric is above the first: above 0 where that was too good to be true.

    Older versions logged the opposite of it as `optimism`, with which it must not be mixed in MLflow's tables.
    """
    metrics = [Metric(name, value) for name, value in promised.items()]
    if "cv_best" in promised:
        final = summarise([outcome.held_out(variant.metric.name) for outcome in outcomes]).mean
        metrics.append(Metric("cv_optimism", final - promised["cv_best"]))
    return metrics


def _log_outcomes(
    run: Run, variant: Variant, hyper: Hyperparameters, outcomes: Sequence[Outcome], losses: Losses
) -> None:
    curves = curves_of(outcomes, "test")
    metrics = []  # those that sum up come first, since MLflow shows them in the order in which they came
    finals = final_values(outcomes, variant)
    bounds = {f"test_{metric.name}": metric.bounds for metric in variant.metrics}
    for name, values in finals.items():
        summary = summarise_crossed(values, losses.get(name), within=bounds.get(name, UNBOUNDED))
        spread = {"std": summary.std, "low": summary.low, "high": summary.high}
        metrics += [
            Metric(f"final_{name}", summary.mean),
            Metric(f"final_{name}_min", min(values)),
            *(Metric(f"final_{name}_{what}", value) for what, value in spread.items() if math.isfinite(value)),
        ]
    metrics += [
        Metric("seconds_per_epoch", float(np.mean([outcome.seconds_per_epoch for outcome in outcomes]))),
        Metric("parameters", variant.count(hyper.structure)),
    ]
    for name, values in finals.items():
        metrics += [Metric(f"round/{name}", value, number) for number, value in enumerate(values)]
    for name, rounds in curves.items():
        metrics += _curve_over_rounds(name, np.array(rounds))
    run.log(metrics=metrics)
    for name, table in (("rounds", _round_table(outcomes, finals)), ("epochs", _epoch_table(curves, variant))):
        run.text(f"{name}.md", table.markdown())
        run.text(f"{name}.csv", table.csv())
    first = variant.metric
    if (of_first := losses.get(f"test_{first.name}")) is not None:
        run.text(LOSSES_FILE, to_csv(of_first))
    for metric in variant.metrics:
        run.text(by_epoch_file(metric.name, first.name), _rounds_by_epoch(curves[f"test_{metric.name}"]).csv())
    title = f"{variant.name}: mean and one standard deviation over {len(outcomes)} rounds"
    run.figure(
        "curves.png",
        learning_curves(
            {"training": curves["train_loss"], "test": curves["test_loss"]},
            metric_series(curves, variant, "test"),
            title,
            first,
        ),
    )
    test = np.array(curves[f"test_{first.name}"])
    train = np.mean(curves[f"train_{first.name}"], axis=0)
    run.figure("error_by_epoch.png", error_by_epoch(train, test.mean(0), test.std(0), test.min(0), title, first))


def _keep_errors(run: Run, subject: Subject, replicas: Sequence[Replica], outcomes: Sequence[Outcome]) -> None:
    """Keep what the task shows of where the predictions for test samples were wrong."""
    for kept in subject.task.views().errors(subject.variant, subject.splits, replicas, outcomes):
        if isinstance(kept.content, Table):
            run.text(f"{kept.name}.csv", kept.content.csv())
        else:
            run.figure(f"{kept.name}.png", kept.content)


def _curve_over_rounds(name: str, value_RE: NDArray[np.float64]) -> list[Metric]:
    """A metric by epoch: its mean over rounds, and of two or more rounds its standard deviation and its least."""
    metrics = curve(name, value_RE.mean(axis=0).tolist())
    if len(value_RE) > 1:
        metrics += curve(f"{name}_std", value_RE.std(axis=0, ddof=1).tolist())
        metrics += curve(f"{name}_min", value_RE.min(axis=0).tolist())
    return metrics


def final_values(outcomes: Sequence[Outcome], variant: Variant) -> dict[str, list[float]]:
    """Name -> the value of each round after its last epoch, of every metric on test and on training samples."""
    values: dict[str, list[float]] = {}
    for metric in variant.metrics:
        values[f"test_{metric.name}"] = [outcome.held_out(metric.name) for outcome in outcomes]
        values[f"train_{metric.name}"] = [outcome.train(metric.name) for outcome in outcomes]
    return {name: each for name, each in values.items() if np.isfinite(each).all()}


def _epoch_table(curves: Mapping[str, Sequence[Sequence[float]]], variant: Variant) -> Table:
    """What the training would have given if it had ended with each epoch (report 004's tables)."""
    first, *others = variant.metrics
    test, train = np.array(curves[f"test_{first.name}"]), np.mean(curves[f"train_{first.name}"], axis=0)
    spread = test.std(0, ddof=1) if len(test) > 1 else np.full(test.shape[1], np.nan)
    columns = {
        f"train {first.title} while learning": train,
        f"mean test {first.title}": test.mean(0),
        "minimum": test.min(0),
        "std": spread,
        **{f"mean test {metric.title}": np.mean(curves[f"test_{metric.name}"], axis=0) for metric in others},
    }
    return Table(
        ["epoch", *columns],
        [[epoch + 1, *(f"{values[epoch]:.4f}" for values in columns.values())] for epoch in range(test.shape[1])],
    )


def _rounds_by_epoch(error_RE: Sequence[Sequence[float]]) -> Table:
    """An error of every round after every epoch, for differences that are paired at some epoch."""
    return Table(
        ["epoch", *(f"round {number}" for number in range(len(error_RE)))],
        [[epoch, *(f"{error:.6f}" for error in errors)] for epoch, errors in enumerate(zip(*error_RE, strict=True), 1)],
    )


def _round_table(outcomes: Sequence[Outcome], errors: Mapping[str, Sequence[float]]) -> Table:
    return Table(
        ["round", *(name.replace("_", " ") for name in errors), "s/epoch"],
        [
            [
                number,
                *(f"{values[number]:.4f}" for values in errors.values()),
                f"{outcome.seconds_per_epoch:.4f}",
            ]
            for number, outcome in enumerate(outcomes)
        ],
    )


def _median_round(outcomes: Sequence[Outcome], variant: Variant) -> int:
    """The round with the median of the first test metric (the lower one of two)."""
    order = np.argsort([outcome.held_out(variant.metric.name) for outcome in outcomes], kind="stable")
    return int(order[(len(order) - 1) // 2])


def _log_model(run: Run, variant: Variant, splits: Splits, replica: Replica, outcome: Outcome) -> tuple[bool, str]:
    """Keep what the median round has trained, if that can be; and say so, or why there is none."""
    try:
        if isinstance(variant.make_step, EstimatorTraining):
            raise ExportError("an estimator has no network")
        run.model(_model(variant, splits, replica, outcome))
    except ExportError as error:
        return False, f"No model was logged: {error}."
    measured = variant.metric.unit.show(outcome.held_out(variant.metric.name))
    return True, f"The logged model is that of round {replica.name[-1]}, the median ({measured})."


def _model(variant: Variant, splits: Splits, replica: Replica, outcome: Outcome) -> ModelToLog:
    assert outcome.weights is not None
    weights = {name: torch.from_numpy(values) for name, values in outcome.weights.items()}
    network = trained_network(variant, replica.hyper.structure, weights)
    mean, std, fill = (
        None if part is None else torch.from_numpy(np.asarray(part))
        for part in (outcome.mean, outcome.std, outcome.fill)
    )
    return ModelToLog(
        name=variant.name,
        network=Exported(network, outcome.objective or variant.objective, mean=mean, std=std, fill=fill).eval(),
        example=torch.from_numpy(splits.test.gather(replica.held_out[:EXAMPLES])["x"]).float(),
        description=f"{variant.name}: {variant.objective.description}",
        metrics=[
            Metric(f"model_test_{metric.name}", value)
            for metric in variant.metrics
            if math.isfinite(value := outcome.held_out(metric.name))
        ],
    )


def _result(
    run: Run,
    variant: Variant,
    hyper: Hyperparameters,
    origin: RunRecord | None,
    outcomes: Sequence[Outcome],
    losses: Losses,
    promised: Mapping[str, float],
    reading: str,
) -> StageResult:
    first, unit, finals = variant.metric, variant.metric.unit, final_values(outcomes, variant)
    tests = {
        each.title: summarise_crossed(finals[name], losses[name], each.unit, within=each.bounds)
        for each in variant.metrics
        if (name := f"test_{each.name}") in finals
    }
    train = summarise(finals[f"train_{first.name}"], unit)
    columns = {f"train {first.title}": train, **{f"test {title}": summary for title, summary in tests.items()}}
    source = "the preset" if origin is None else f"the configuration of run {origin.name} ({origin.id})"
    shown = show_hyper(variant, hyper)
    configured = f" with {shown}" if shown else ""  # an estimator may have nothing that differs from its defaults
    return StageResult(
        run_id=run.id,
        headline=f"{variant.name}: test {first.title} {tests[first.title].text()}{show_others(tests)} over "
        f"{len(outcomes)} rounds{configured}",
        table=Table(
            [
                "model",
                *(title for name in columns for title in (name, "95 % interval")),
                *(f"least test {first.title}", "parameters", "s/epoch"),
            ],
            [
                [
                    variant.name,
                    *(text for each in columns.values() for text in (each.text(), each.interval())),
                    unit.show(min(outcome.held_out(first.name) for outcome in outcomes)),
                    variant.count(hyper.structure) or "-",
                    f"{summarise([outcome.seconds_per_epoch for outcome in outcomes]).mean:.3f}",
                ]
            ],
        ),
        notes=[
            f"Used {source}.",
            reading,
            *_compare_with(promised, tests[first.title].mean, variant),
        ],
    )


def _compare_with(promised: Mapping[str, float], final: float, variant: Variant) -> list[str]:
    """What was promised, beside what came of it."""
    if "cv_best" not in promised:
        return []
    unit = variant.metric.unit
    again = f", {unit.show(promised['cv_recheck'])} on fresh folds" if "cv_recheck" in promised else ""
    gap = f"{unit.difference(final - promised['cv_best'])}{unit.suffix}"
    return [f"Cross validation said {unit.show(promised['cv_best'])}{again}: an optimism of {gap}."]

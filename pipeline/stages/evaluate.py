"""evaluate: the final measurement, rounds of fresh data and weights, on test digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.data.digits import CLASSES, DigitPools
from pipeline.data.pairs import gather
from pipeline.data.prepared import load_pools
from pipeline.errors import InputError, StageError, UnknownNameError
from pipeline.models.comparator import Comparator
from pipeline.models.registry import get_variant
from pipeline.models.variant import Hyperparameters, Variant
from pipeline.reports.figures import digit_confusion, learning_curves
from pipeline.reports.statistics import Summary, summarise
from pipeline.reports.tables import Table
from pipeline.stages.replicas import round_replicas
from pipeline.stages.stage import Reporter, Setting, StageResult, log_composition, open_store, percent, show_hyper
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
)
from pipeline.training.compute import Compute
from pipeline.training.plan import Job, Outcome, Replica
from pipeline.training.pool import Trainer

PRESETS = ("best", "report")
EXAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to evaluate."""

    setting: Setting
    model: str
    rounds: int = 20
    preset: str = "best"
    """`best`: of the newest finished search of this model on this data set; `report`: the report's configuration."""
    from_run: str = ""
    """Id of a run whose configuration to take instead: a search, trial, cross_validate, cell or evaluate run."""
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= 10_000:
            raise InputError(f"--rounds must be between 1 and 10000, but got {self.rounds}")
        if self.preset not in PRESETS:
            raise UnknownNameError("preset", self.preset, PRESETS)


def inputs(config: EvaluateConfig) -> tuple[Variant, DigitPools]:
    """The variant and the pools, which suffice for the pairs that are asked for."""
    variant = get_variant(config.model)
    pools = load_pools(config.setting.data)
    round_replicas(pools, config.setting, variant.preset, rounds=1)
    return variant, pools


def run(config: EvaluateConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Train and test in every round; log errors with their interval, curves, confusion and the median model."""
    setting = config.setting
    variant, pools = inputs(config)
    hyper, origin = _choose(config, variant, pools, tracker)
    replicas = round_replicas(pools, setting, hyper, rounds=config.rounds)
    open_store(tracker, reporter)
    start = RunStart(
        name=f"evaluate {variant.name}",
        role="evaluate",
        params={
            **variant_params(variant),
            **setting.params,
            **variant.shown(hyper),
            **config.compute.params,
            "rounds": config.rounds,
        },
        tags={"model": variant.name, **config_tags(hyper), "config_from": "" if origin is None else origin.id},
        data=pools,
        test_data=True,
    )
    with Trainer(pools.train, pools.test, config.compute) as trainer, stage_run(tracker, start, parent) as run:
        job = Job(variant=variant.name, replicas=replicas, keep_models=True)
        with reporter.progress(f"evaluate {variant.name}", job.replica_epochs) as bar:
            [outcomes] = trainer.run([job], lambda done, _: bar.update(done))
        diverged = [f"round {number}: {outcome.reason}" for number, outcome in enumerate(outcomes) if outcome.reason]
        if diverged:
            raise StageError(
                f"every round must end with a finite loss, but {len(diverged)} of {len(outcomes)} did not "
                f"({diverged[0]}); choose a smaller learning rate"
            )
        _log_outcomes(run, variant, pools, replicas, outcomes)
        log_composition(run, trainer)
        median = _median_round(outcomes)
        run.model(_model(variant, pools, replicas[median], outcomes[median]))
        result = _result(run, variant, hyper, origin, outcomes, median)
        run.describe(result.markdown())
    return result


def _choose(
    config: EvaluateConfig, variant: Variant, pools: DigitPools, tracker: Tracker
) -> tuple[Hyperparameters, RunRecord | None]:
    """The configuration to evaluate and the run that it comes from (None for the report's)."""
    if config.from_run:
        record = tracker.get(config.from_run)
        if record.config is None or record.tags.get("model") != variant.name:
            raise InputError(
                f"--from-run must name a run with one configuration of {variant.name}, but {config.from_run} is "
                f"{record.tags.get('role', 'another')} run of {record.tags.get('model', 'no model')}"
            )
        return variant.check(record.config), record
    if config.preset == "report":
        return variant.preset, None
    for record in tracker.find("search", model=variant.name, dataset_digest=pools.digest):
        if record.status == "FINISHED" and record.config is not None:
            return variant.check(record.config), record
    raise InputError(
        f"--preset best needs a finished search of {variant.name} on these digits ({pools.name}, {pools.pooling} "
        f"pooling), but there is none; run search first, or choose --preset report"
    )


def _log_outcomes(
    run: Run, variant: Variant, pools: DigitPools, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> None:
    names = {
        "train_loss": "train_loss_E",
        "train_error": "train_error_E",
        "test_loss": "held_out_loss_E",
        "test_error": "held_out_error_E",
    }
    curves = {name: [getattr(outcome, attribute) for outcome in outcomes] for name, attribute in names.items()}
    metrics = [metric for name, rounds in curves.items() for metric in curve(name, np.mean(rounds, axis=0).tolist())]
    test, train, seconds = _summaries(outcomes)
    metrics += [
        Metric("final_test_error", test.mean),
        Metric("final_train_error", train.mean),
        Metric("seconds_per_epoch", seconds.mean),
        Metric("parameters", variant.parameters),
    ]
    if len(outcomes) > 1:
        metrics += [
            Metric("final_test_error_std", test.std),
            Metric("final_test_error_low", test.low),
            Metric("final_test_error_high", test.high),
            Metric("final_train_error_std", train.std),
            Metric("final_train_error_low", train.low),
            Metric("final_train_error_high", train.high),
        ]
    for number, outcome in enumerate(outcomes):
        metrics += [
            Metric("round/test_error", outcome.held_out_error, number),
            Metric("round/train_error", outcome.train_error, number),
        ]
    run.log(metrics=metrics)
    rounds = _round_table(outcomes)
    run.text("rounds.md", rounds.markdown())
    run.text("rounds.csv", rounds.csv())
    run.figure(
        "curves.png",
        learning_curves(
            {"training": curves["train_loss"], "test": curves["test_loss"]},
            {"training": curves["train_error"], "test": curves["test_error"]},
            f"{variant.name}: mean and one standard deviation over {len(outcomes)} rounds",
        ),
    )
    wrong, seen = count_digit_pairs(pools, replicas, outcomes)
    run.figure("confusion_by_digit_pair.png", digit_confusion(wrong, seen))
    run.text("confusion_by_digit_pair.csv", _confusion_table(wrong, seen).csv())


def _summaries(outcomes: Sequence[Outcome]) -> tuple[Summary, Summary, Summary]:
    """Of test error, train error and seconds per epoch."""
    return (
        summarise([outcome.held_out_error for outcome in outcomes]),
        summarise([outcome.train_error for outcome in outcomes]),
        summarise([outcome.seconds_per_epoch for outcome in outcomes]),
    )


def count_digit_pairs(
    pools: DigitPools, replicas: Sequence[Replica], outcomes: Sequence[Outcome]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(10, 10) counts of wrong answers and of all test pairs by (first digit, second digit), over all rounds."""
    wrong = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    seen = np.zeros_like(wrong)
    for replica, outcome in zip(replicas, outcomes, strict=True):
        samples = gather(pools.test, replica.held_out)
        assert outcome.predictions_M is not None
        where = (samples.digits_NC[:, 0], samples.digits_NC[:, 1])
        np.add.at(seen, where, 1)
        np.add.at(wrong, where, outcome.predictions_M != samples.target_N)
    return wrong, seen


def _confusion_table(wrong: NDArray[np.int64], seen: NDArray[np.int64]) -> Table:
    return Table(
        ["first digit", "second digit", "pairs", "wrong"],
        [
            [first, second, int(seen[first, second]), int(wrong[first, second])]
            for first, second in np.ndindex(seen.shape)
        ],
    )


def _round_table(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        ["round", "train error", "test error", "s/epoch"],
        [
            [number, f"{outcome.train_error:.4f}", f"{outcome.held_out_error:.4f}", f"{outcome.seconds_per_epoch:.4f}"]
            for number, outcome in enumerate(outcomes)
        ],
    )


def _median_round(outcomes: Sequence[Outcome]) -> int:
    """The round with the median test error (the lower one of two)."""
    order = np.argsort([outcome.held_out_error for outcome in outcomes], kind="stable")
    return int(order[(len(order) - 1) // 2])


def _model(variant: Variant, pools: DigitPools, replica: Replica, outcome: Outcome) -> ModelToLog:
    assert outcome.weights is not None
    network = variant.build()
    network.load_state_dict({name: torch.from_numpy(weights) for name, weights in outcome.weights.items()})
    examples = gather(pools.test, replica.held_out[:EXAMPLES])
    return ModelToLog(
        network=Comparator(network, mean=outcome.mean, std=outcome.std).eval(),
        example=torch.from_numpy(examples.x_NCHW),
        description=f"{variant.name}: P(first > second), P(first <= second) of two 14x14 digits, grey values 0 to 255",
    )


def _result(
    run: Run,
    variant: Variant,
    hyper: Hyperparameters,
    origin: RunRecord | None,
    outcomes: Sequence[Outcome],
    median: int,
) -> StageResult:
    test, train, seconds = _summaries(outcomes)
    source = "the report's configuration" if origin is None else f"the configuration of run {origin.name} ({origin.id})"
    return StageResult(
        run_id=run.id,
        headline=f"{variant.name}: test error {test.percent()} over {len(outcomes)} rounds with "
        f"{show_hyper(variant, hyper)}",
        table=Table(
            ["model", "train error", "95 % interval", "test error", "95 % interval", "parameters", "s/epoch"],
            [
                [
                    variant.name,
                    train.percent(),
                    train.interval(),
                    test.percent(),
                    test.interval(),
                    variant.parameters,
                    f"{seconds.mean:.3f}",
                ]
            ],
        ),
        notes=[
            f"Used {source}; fresh pairs and weights in every round; the intervals are those of the means.",
            f"The logged model is that of round {median}, the median ({percent(outcomes[median].held_out_error)}).",
        ],
    )

"""compare: the evaluated variants side by side, like report 000's Table 2."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import InputError, UnknownNameError
from pipeline.models.registry import variants
from pipeline.reports.figures import box_plot, loss_by_family
from pipeline.reports.statistics import Summary, summarise
from pipeline.reports.tables import Table
from pipeline.stages.planning import Work
from pipeline.stages.stage import Reporter, StageResult, open_store, percent, show_hyper
from pipeline.tracking.port import Metric, Run, RunRecord, RunStart, Tracker, stage_run


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What to compare."""

    experiment: str = ""
    """Name of the experiment whose evaluate runs are compared; empty for the present one."""
    models: str = "all"
    """`all` that were evaluated, or names separated by commas."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One variant's newest evaluation, read back from the tracker."""

    run: RunRecord
    test_errors: Sequence[float]
    train_errors: Sequence[float]
    digit_errors: Sequence[float]
    """On the digits of the test samples; empty for a variant that is not trained to name them."""
    train_loss_E: Sequence[float]

    @property
    def model(self) -> str:
        """The variant."""
        return self.run.tags["model"]

    @property
    def search(self) -> str:
        """What was spent on finding its configuration; `-` for the report's."""
        params = self.run.params
        if "search_trials" not in params:
            return "-"
        return (
            f"{params['search_trials']} trials of {params['search_sampler']}, {params['search_replica_epochs']} "
            f"replica-epochs, {float(params['search_seconds']):.0f} s"
        )

    @property
    def test(self) -> Summary:
        """Of the test error over rounds."""
        return summarise(self.test_errors)


def plan(config: CompareConfig, tracker: Tracker) -> list[Work]:
    """Nothing to train; the evaluations that would be read."""
    return [
        Work(what=f"compare {entry.model}", done=f"run {entry.run.id}, {len(entry.test_errors)} rounds")
        for entry in _read(config, tracker)
    ]


def run(config: CompareConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Compare the newest finished evaluation of each variant; log the table and the figures."""
    evaluated = _read(config, tracker)
    open_store(tracker, reporter)
    start = RunStart(
        name=f"compare {len(evaluated)} variants",
        role="compare",
        params={"models": config.models},
        tags={"evaluate_runs": ",".join(entry.run.id for entry in evaluated)},
    )
    with stage_run(tracker, start, parent) as run:
        differences = _differences(evaluated)
        table = _table(evaluated, paired=not differences)
        run.text("comparison.md", table.markdown())
        run.text("comparison.csv", table.csv())
        run.figure("test_error.png", box_plot({entry.model: entry.test_errors for entry in evaluated}, "test error"))
        families: dict[str, dict[str, Sequence[float]]] = defaultdict(dict)
        for entry in evaluated:
            families[variants()[entry.model].arch][entry.model] = entry.train_loss_E
        run.figure("loss_by_family.png", loss_by_family(families))
        run.log(metrics=[Metric(f"final_test_error/{entry.model}", entry.test.mean) for entry in evaluated])
        best = min(evaluated, key=lambda entry: entry.test.mean)
        result = StageResult(
            run_id=run.id,
            headline=f"{best.model} has the least mean test error, {best.test.percent()}"
            + (
                f", of {len(evaluated)} variants" if len(evaluated) > 1 else "; it is the only variant evaluated so far"
            ),
            table=table,
            notes=[
                *(
                    differences
                    or [
                        "All were measured in the same rounds, on the same pairs; ± is the standard deviation over "
                        "rounds.",
                        "Behind the best: mean paired difference in percentage points, with its 95 % interval.",
                    ]
                ),
                *_unequal_searches(evaluated),
            ],
        )
        run.describe(result.markdown())
    return result


def _read(config: CompareConfig, tracker: Tracker) -> list[Evaluated]:
    found = tracker.find("evaluate", experiment=config.experiment)
    newest: dict[str, RunRecord] = {}
    for record in found:
        if record.status == "FINISHED" and record.tags.get("model") in variants():
            newest.setdefault(record.tags["model"], record)
    wanted = list(newest) if config.models == "all" else config.models.split(",")
    for name in wanted:
        if name not in variants():
            raise UnknownNameError("model", name, variants())
        if name not in newest:
            raise InputError(f"compare reads evaluate runs, but {name} has no finished one here; run evaluate first")
    if not wanted:
        raise InputError("compare reads evaluate runs, but this experiment has no finished one; run evaluate first")
    return [
        Evaluated(
            run=newest[name],
            test_errors=tracker.history(newest[name].id, "round/test_error"),
            train_errors=tracker.history(newest[name].id, "round/train_error"),
            digit_errors=tracker.history(newest[name].id, "round/test_digit_error"),
            train_loss_E=tracker.history(newest[name].id, "train_loss"),
        )
        for name in variants()
        if name in wanted
    ]


def _table(evaluated: Sequence[Evaluated], *, paired: bool) -> Table:
    best = min(evaluated, key=lambda entry: entry.test.mean)
    digits = ["digit error"] if any(entry.digit_errors for entry in evaluated) else []
    rows = []
    for entry in evaluated:
        variant, hyper = variants()[entry.model], entry.run.config
        assert hyper is not None
        rows.append(
            [
                entry.model,
                summarise(entry.train_errors).percent(),
                entry.test.percent(),
                entry.test.interval(),
                percent(min(entry.test_errors)),
                *(summarise(entry.digit_errors).percent() if entry.digit_errors else "-" for _ in digits),
                entry.test.n,
                variant.count(hyper.structure),
                f"{entry.run.metrics['seconds_per_epoch']:.3f}",
                _behind(entry, best) if paired and entry is not best else "-",
                entry.search,
                show_hyper(variant, hyper),
            ]
        )
    errors = ["train error", "test error", "95 % interval", "least", *digits]
    return Table(
        ["model", *errors, "rounds", "parameters", "s/epoch", "behind the best", "searched", "configuration"], rows
    )


def _behind(entry: Evaluated, best: Evaluated) -> str:
    """The paired difference in test error: round by round on the same pairs."""
    difference = summarise([mine - its for mine, its in zip(entry.test_errors, best.test_errors, strict=True)])
    return f"{100 * difference.mean:+.2f} {difference.interval()}"


def _unequal_searches(evaluated: Sequence[Evaluated]) -> list[str]:
    """Whether some had more search than others: then part of their lead may be that."""
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in evaluated:
        params = entry.run.params
        searched = "search_trials" in params
        groups[f"{params['search_trials']} trials of {params['search_sampler']}" if searched else "none"].append(
            entry.model
        )
    if len(groups) < 2:
        return []
    listed = "; ".join(f"{spent}: {', '.join(models)}" for spent, models in groups.items())
    return [f"Not searched equally, so a part of a difference may be the search: {listed}."]


def _differences(evaluated: Sequence[Evaluated]) -> list[str]:
    """What keeps these evaluations from being paired: other data, seeds, or numbers of rounds or pairs."""
    notes = []
    for label, values in (
        ("data (digest)", {entry.model: entry.run.tags.get("dataset_digest", "?")[:8] for entry in evaluated}),
        *(
            (name, {entry.model: entry.run.params.get(name, "?") for entry in evaluated})
            for name in ("rounds", "pairs", "test_pairs", "seed")
        ),
    ):
        if len(set(values.values())) > 1:
            models: dict[str, list[str]] = defaultdict(list)
            for model, value in values.items():
                models[value].append(model)
            listed = "; ".join(f"{value}: {', '.join(names)}" for value, names in models.items())
            notes.append(f"Not measured alike, so differences are not to be trusted: {label} differ ({listed}).")
    return notes

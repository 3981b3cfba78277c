"""prepare: build or check the cached splits, and show what is in them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.data.dataset import Samples
from pipeline.data.rounds import draw_samples
from pipeline.stages.planning import Work
from pipeline.stages.stage import Reporter, Sampling, StageResult, open_store
from pipeline.tasks.subjects import Data, find_dataset, open_data
from pipeline.tracking.port import Metric, Run, RunStart, Tracker, stage_run


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Which splits to prepare."""

    sampling: Sampling


def inputs(config: PrepareConfig) -> tuple[Data, dict[str, Samples]]:
    """The data, and the training and test samples of round 0."""
    sampling = config.sampling
    data = open_data(sampling.data)
    splits = data.splits
    parts = {
        "train": (splits.train, sampling.train_count(splits)),
        "test": (splits.test, sampling.test_count(splits)),
    }
    return data, {
        part: pool.gather(draw_samples(part, pool, count, seed=sampling.seed, round_=0))
        for part, (pool, count) in parts.items()
    }


def plan(config: PrepareConfig) -> list[Work]:
    """Nothing to train; whether the splits are there already."""
    _, source = find_dataset(config.sampling.data)
    done = "prepared" if source.is_prepared(config.sampling.data) else "-"
    return [Work(what=f"prepare {config.sampling.data.dataset}", done=done)]


def run(config: PrepareConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Prepare the splits and log their digest, class and target balance, and a picture of samples."""
    sampling = config.sampling
    data, rounds = inputs(config)
    splits = data.splits
    open_store(tracker, reporter)
    start = RunStart(name=f"prepare {splits.name}", role="prepare", params=sampling.params, data=splits, test_data=True)
    with stage_run(tracker, start, parent) as run:
        views, train = data.task.views(), splits.train
        shares = {
            (part, what): share(samples) for part, samples in rounds.items() for what, share in views.shares.items()
        }
        run.log(
            params={"digest": splits.digest},
            metrics=[
                Metric(f"train_{train.item_name}s", len(train)),
                Metric(f"test_{train.item_name}s", len(splits.test)),
                *(Metric(f"{part}_{'_'.join(what.split())}", share) for (part, what), share in shares.items()),
            ],
        )
        composition = views.composition(splits)
        run.text("classes.md", composition.markdown())
        run.text("classes.csv", composition.csv())
        if (picture := views.samples(rounds["train"])) is not None:
            run.figure(f"sample_{train.sample_name}s.png", picture)
        prepared = f"; {splits.preparation}" if splits.preparation else ""
        result = StageResult(
            run_id=run.id,
            headline=f"{splits.name}: {len(train)} training and {len(splits.test)} test {train.item_name}s, "
            f"SHA-256 {splits.digest[:12]}…",
            table=composition,
            notes=[
                f"Source: {splits.source}{prepared}.",
                *([f"What is learned is {data.guessed}; --task says otherwise."] if data.guessed else []),
                *(
                    f"In round 0, {shares['train', what]:.1%} of the training {train.sample_name}s and "
                    f"{shares['test', what]:.1%} of the test {train.sample_name}s are {what}."
                    for what in views.shares
                ),
            ],
        )
        run.describe(result.description)
    return result

"""prepare: build or check the cached pools, and show what is in them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.data.pools import Pools, Samples
from pipeline.data.prepared import is_prepared, load_pools
from pipeline.data.rounds import draw_samples
from pipeline.stages.planning import Work
from pipeline.stages.stage import Reporter, Setting, StageResult, open_store
from pipeline.stages.views import class_table, sample_picture
from pipeline.tracking.port import Metric, Run, RunStart, Tracker, stage_run


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Which pools to prepare."""

    setting: Setting


def inputs(config: PrepareConfig) -> tuple[Pools, dict[str, Samples]]:
    """The pools, and the training and test samples of round 0."""
    setting = config.setting
    pools = load_pools(setting.data)
    parts = {
        "train": (pools.train, setting.training_samples(pools)),
        "test": (pools.test, setting.test_samples(pools)),
    }
    return pools, {
        part: pool.gather(draw_samples(part, pool, count, seed=setting.seed, round_=0))
        for part, (pool, count) in parts.items()
    }


def plan(config: PrepareConfig) -> list[Work]:
    """Nothing to train; whether the pools are there already."""
    done = "prepared" if is_prepared(config.setting.data) else "-"
    return [Work(what=f"prepare {config.setting.data.dataset}", done=done)]


def run(config: PrepareConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Prepare the pools and log their digest, class and target balance, and a picture of samples."""
    setting = config.setting
    pools, rounds = inputs(config)
    open_store(tracker, reporter)
    start = RunStart(name=f"prepare {pools.name}", role="prepare", params=setting.params, data=pools, test_data=True)
    with stage_run(tracker, start, parent) as run:
        question = "lesser or equal" if pools.train.sample == "pair" else "inside"
        shares = {part: float(samples.target_N.mean()) for part, samples in rounds.items()}
        run.log(
            params={"digest": pools.digest},
            metrics=[
                Metric(f"train_{pools.train.part}s", len(pools.train)),
                Metric(f"test_{pools.test.part}s", len(pools.test)),
                *(Metric(f"{part}_{'_'.join(question.split())}", share) for part, share in shares.items()),
            ],
        )
        classes = class_table(pools)
        run.text("classes.md", classes.markdown())
        run.text("classes.csv", classes.csv())
        run.figure(f"sample_{pools.train.sample}s.png", sample_picture(rounds["train"]))
        result = StageResult(
            run_id=run.id,
            headline=f"{pools.name}: {len(pools.train)} training and {len(pools.test)} test {pools.train.part}s, "
            f"SHA-256 {pools.digest[:12]}…",
            table=classes,
            notes=[
                f"Source: {pools.source}"
                + (f"; 28x28 reduced to 14x14 by {pools.pooling} pooling." if pools.pooling else "."),
                f"In round 0, {shares['train']:.1%} of the training {pools.train.sample}s and {shares['test']:.1%} of "
                f"the test {pools.train.sample}s are {question}.",
            ],
        )
        run.describe(result.description)
    return result

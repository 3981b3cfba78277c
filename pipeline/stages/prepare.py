"""prepare: build or check the cached pools, and show what is in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.digits import CLASSES, DigitPools
from pipeline.data.pairs import Samples, draw_pairs, gather
from pipeline.data.prepared import load_pools
from pipeline.reports.figures import sample_pairs
from pipeline.reports.tables import Table
from pipeline.stages.stage import Reporter, Setting, StageResult, open_store
from pipeline.tracking.port import Metric, Run, RunStart, Tracker, stage_run


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Which pools to prepare."""

    setting: Setting


def inputs(config: PrepareConfig) -> tuple[DigitPools, dict[str, Samples]]:
    """The pools, and the training and test samples of round 0."""
    setting = config.setting
    pools = load_pools(setting.data)
    parts = {"train": pools.train, "test": pools.test}
    return pools, {
        part: gather(digits, draw_pairs(part, len(digits), setting.pairs, seed=setting.seed, round_=0))
        for part, digits in parts.items()
    }


def run(config: PrepareConfig, tracker: Tracker, reporter: Reporter, parent: Run | None = None) -> StageResult:
    """Prepare the pools and log their digest, class and target balance, and a picture of pairs."""
    setting = config.setting
    pools, rounds = inputs(config)
    open_store(tracker, reporter)
    start = RunStart(name=f"prepare {pools.name}", role="prepare", params=setting.params, data=pools, test_data=True)
    with stage_run(tracker, start, parent) as run:
        shares = {part: float(samples.target_N.mean()) for part, samples in rounds.items()}
        run.log(
            params={"digest": pools.digest},
            metrics=[
                Metric("train_digits", len(pools.train)),
                Metric("test_digits", len(pools.test)),
                *(Metric(f"{part}_lesser_or_equal", share) for part, share in shares.items()),
            ],
        )
        classes = _class_table(pools)
        run.text("classes.md", classes.markdown())
        run.text("classes.csv", classes.csv())
        run.figure("sample_pairs.png", sample_pairs(rounds["train"]))
        result = StageResult(
            run_id=run.id,
            headline=f"{pools.name}: {len(pools.train)} training and {len(pools.test)} test digits, "
            f"SHA-256 {pools.digest[:12]}…",
            table=classes,
            notes=[
                f"Source: {pools.source}; 28x28 reduced to 14x14 by {pools.pooling} pooling.",
                f"In round 0 the first digit is lesser or equal in {shares['train']:.1%} of the training pairs and "
                f"{shares['test']:.1%} of the test pairs.",
            ],
        )
        run.describe(result.markdown())
    return result


def _class_table(pools: DigitPools) -> Table:
    counts = [np.bincount(digits.labels_N, minlength=CLASSES) for digits in (pools.train, pools.test)]
    return Table(
        ["pool", *map(str, range(CLASSES)), "all"],
        [[name, *row.tolist(), int(row.sum())] for name, row in zip(("train", "test"), counts, strict=True)],
    )

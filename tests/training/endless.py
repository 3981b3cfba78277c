"""A program that trains for ever in two workers, and says when training has begun."""

from __future__ import annotations

import sys

from pipeline.tasks.registry import get_variant
from pipeline.training.compute import Compute
from pipeline.training.plan import Job
from pipeline.training.pool import Trainer
from tests.synthetic import make_digits
from tests.training.plans import make_hyper, make_replica


def main() -> None:
    """Runs until it is killed."""
    hyper = make_hyper("mlp_ws", batch_size=1, epochs=10_000)
    jobs = [
        Job(variant=get_variant("mlp_ws"), replicas=(make_replica(index, hyper, samples=190 - index),))
        for index in range(2)
    ]
    said = False

    def progress(done: int, planned: int) -> None:
        nonlocal said
        if done and not said:
            sys.stdout.write(f"training {planned} epochs\n")
            sys.stdout.flush()
            said = True

    with Trainer(make_digits(400, "train"), make_digits(200, "held out"), Compute(device="cpu", workers=2)) as trainer:
        trainer.run(jobs, progress)


if __name__ == "__main__":
    main()

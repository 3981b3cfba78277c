"""A search is a function of its seed: of no worker, no death and no restart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.stages.stage import Sampling
from pipeline.training.compute import Compute
from tests.stages.runs import Make, searched, table_of, trials_of

SPACE = """
lr: {type: float, low: 1e-5, high: 1e-1, log: true}
batch_size: {type: choice, values: [10, 20, 25]}
epochs: {type: choice, values: [2, 7], default: 7}
"""
METHODS: list[dict[str, Any]] = [
    {"pruner": "median"},
    {"pruner": "halving"},
    {"pruner": "hyperband"},
    {"pruner": "wilcoxon", "folds": 4},
    {"pruner": "none"},
    {"sampler": "cmaes"},
    {"sampler": "gp", "pruner": "none"},
]


@pytest.mark.parametrize("options", METHODS, ids=lambda options: " ".join(map(str, options.values())))
def test_a_seed_gives_the_same_trials_with_any_number_of_workers(
    make: Make, sampling: Sampling, options: dict[str, Any]
) -> None:
    # Three batches, of which the last may be pruned.
    search = make(SPACE, sampling=replace(sampling, samples=60, seed=2), n_trials=9, population=3, **options)
    one, two, four = (
        table_of(searched(replace(search, study=f"{workers} workers", compute=Compute(workers=workers)))[0])
        for workers in (1, 2, 4)
    )
    assert one == two == four
    assert len(one) == 9
    assert len({config for config, *_ in one}) > 4
    statuses = {status for _, status, *_ in one}
    assert ("KILLED" in statuses) == (options.get("pruner") != "none")


def test_folds_of_different_trials_train_as_one_program(make: Make) -> None:
    space = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\nbatch_size: {type: choice, values: [15, 25]}\n"
    tracker, run = searched(
        make(space + "epochs: {type: choice, values: [2], default: 2}\n", n_trials=9, sampler="random")
    )
    batch_sizes = [int(trial.params["batch_size"]) for trial in trials_of(tracker)]
    shared = 0
    for chunk in json.loads(run.texts["chunks.json"])["chunks"]:
        numbers = [int(name.split("/")[1]) for name in chunk["replicas"]]
        assert {batch_sizes[number] for number in numbers} == {chunk["batch_size"]}
        assert len({number // 4 for number in numbers}) == 1
        shared += len(set(numbers)) > 1
    assert shared >= 2

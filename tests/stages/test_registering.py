"""A registered model's champion is the version that was shown to be best on the same test digits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.base.errors import InputError
from pipeline.stages import evaluate
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.stage import Sampling, StageResult
from pipeline.training.compute import Compute
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

ROUNDS = 6
"""The fewest in which a permutation test can show anything at 5 %."""


@pytest.fixture(scope="module")
def tracker() -> MemoryTracker:
    return MemoryTracker()


@pytest.fixture(scope="module")
def versions(tracker: MemoryTracker, sampling: Sampling) -> list[StageResult]:
    """Of one, five, one and twenty epochs, and again of twenty on other digits, in this order."""
    few = replace(sampling, samples=100)

    def evaluated(epochs: int, sampling: Sampling) -> StageResult:
        config = EvaluateConfig(
            sampling=sampling,
            model="linear_digits",
            rounds=ROUNDS,
            preset="report",
            changes=f"epochs={epochs}",
            register="less or equal",
            compute=Compute(workers=1),
        )
        return evaluate.run(config, tracker, Silent())

    return [*(evaluated(epochs, few) for epochs in (1, 5, 1, 20)), evaluated(20, replace(few, seed=1))]


def test_every_model_becomes_a_version(tracker: MemoryTracker, versions: list[StageResult]) -> None:
    assert tracker.registered == {"less or equal": [result.run_id for result in versions]}


def test_the_champion_is_the_first_until_one_is_better(tracker: MemoryTracker, versions: list[StageResult]) -> None:
    said = [result.notes[-1].removeprefix("Version ") for result in versions]
    assert said[0] == "1 of the registered model less or equal, now the champion: it is the first one."
    assert [text.split(": ")[0].split(", ")[1] for text in said] == [
        "now the champion",
        "now the champion",
        "not the champion",
        "now the champion",
        "not the champion",
    ]
    assert tracker.champions == {"less or equal": "4"}
    champion = tracker.champion("less or equal")
    assert champion is not None
    assert champion.id == versions[3].run_id
    assert tracker.champion("another") is None


def test_the_reason_is_the_paired_test(versions: list[StageResult]) -> None:
    note = versions[1].notes[-1]
    assert "now the champion: its test error differs from that of the champion of before, linear_digits, by -" in note
    assert note.endswith(f" points over {ROUNDS} rounds (p = 0.031).")
    assert "was not measured alike" in versions[4].notes[-1]


def test_it_leads_to_the_champion_that_it_was_compared_with(versions: list[StageResult]) -> None:
    assert [result.links.get("the champion of before") for result in versions] == [
        None,
        *(f"memory:{versions[number].run_id}" for number in (0, 1, 1, 3)),
    ]


@pytest.mark.parametrize("name", ["a/b", "a:b", " a"])
def test_a_name_that_no_model_can_have_is_refused_before_anything_is_trained(sampling: Sampling, name: str) -> None:
    with pytest.raises(InputError, match="a registered model is named without / and :"):
        EvaluateConfig(sampling=sampling, model="mlp", register=name)

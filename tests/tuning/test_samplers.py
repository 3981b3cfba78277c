"""Proposals are a function of the seed and of the trials before, and all of them lie in the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import InputError
from pipeline.base.seeds import numpy_generator
from pipeline.models.hyperparameters import Hyperparameters, Value
from pipeline.tasks.registry import get_variant
from pipeline.tuning import samplers
from pipeline.tuning.constraints import Constraint
from pipeline.tuning.dimensions import Choice, Dimension, FloatRange, IntRange
from pipeline.tuning.samplers import BEST, LATEST, REFRESH, SAMPLERS, TWO_OBJECTIVES, Proposer
from pipeline.tuning.space import Condition, Space
from pipeline.tuning.trials import State, TrialRecord
from tests.tuning.results import record

POPULATION = 4
SPACE = Space(
    dimensions={
        "lr": FloatRange(low=1.5e-4, high=9.5e-3, log=True, significant_digits=1),
        "batch_size": Choice(values=(10, 25, 50)),
        "epochs": IntRange(low=5, high=50, step=5),
        "optimiser": Choice(values=("adam", "sgd")),
        "momentum": FloatRange(low=0.0, high=0.9, step=0.3),
        "alpha": FloatRange(low=0.1, high=10.0, significant_digits=2),
    },
    preset=get_variant("mlp_al").preset,
    conditions={"momentum": Condition("optimiser", ("sgd",))},
    constraints=(Constraint("batch_size * epochs <= 1250"), Constraint("alpha >= lr * 200")),
)
LASTING = replace(SPACE, dimensions={**SPACE.dimensions, "batch_size": Choice(values=(25, 50))})
"""In which no trial fails."""
CHEAP = [name for name in SAMPLERS if name != "gp"]


def proposer(name: str, space: Space = SPACE, *, seed: int = 7, objectives: int | None = None) -> Proposer:
    two = 2 if name == TWO_OBJECTIVES else 1
    return Proposer(name, space, seed=seed, population=POPULATION, objectives=objectives or two)


def outcome(number: int, hyper: Hyperparameters, batch: tuple[int, int], objectives: int) -> TrialRecord:
    """What a trial gave: some are pruned, and some fail."""
    error = 0.1 + abs(hyper.lr - 2e-3) * 50 + 0.05 * float(numpy_generator(0, "error", number).random())
    state: State = "failed" if hyper.batch_size == 10 else "complete"
    if number % 5 == 3 and objectives == 1:
        state = "pruned"
    cost = hyper.epochs / hyper.batch_size if objectives == 2 else None
    return record(number, error, state=state, hyper=hyper, cost=cost, batch=batch)


def given_first(number: int) -> bool:
    return number == 0


def search(name: str, count: int, space: Space = SPACE, objectives: int = 1) -> list[TrialRecord]:
    """A search by one process, which learns batch by batch."""
    proposing, records = proposer(name, space, objectives=objectives), list[TrialRecord]()
    while len(records) < count:
        begin = len(records)
        numbers = range(begin, min(begin + (POPULATION if begin else 1), count))
        proposing.learn(records, given_first)
        proposed = [proposing.propose(number, None if number else space.preset_parameters) for number in numbers]
        batch = begin, numbers[-1] + 1
        records += [
            outcome(number, space.hyper(each), batch, objectives)
            for number, each in zip(numbers, proposed, strict=True)
        ]
    return records


def next_after(proposing: Proposer, records: Sequence[TrialRecord], count: int = POPULATION) -> list[dict[str, Value]]:
    """The first trials of the batch after these."""
    proposing.learn(records, given_first)
    return [proposing.propose(len(records) + index, None) for index in range(count)]


METHODS = [*((name, 1) for name in SAMPLERS), (TWO_OBJECTIVES, 2)]


@pytest.mark.parametrize(("name", "objectives"), METHODS)
def test_a_new_process_proposes_what_one_that_went_through_all_proposes(name: str, objectives: int) -> None:
    space = LASTING if name == "gp" else SPACE  # it begins after ten complete trials
    records = search(name, 17, space, objectives)
    for begin in (1, 5, 13):
        in_one_go = next_after(proposer(name, space, objectives=objectives), records[:begin])
        expected = [space.parameters(each.hyper) for each in records[begin : begin + POPULATION]]
        assert in_one_go == expected


@pytest.mark.parametrize(("name", "objectives"), METHODS)
def test_all_that_is_proposed_lies_in_the_space(name: str, objectives: int) -> None:
    records = search(name, 17, objectives=objectives)
    assert records[0].hyper == SPACE.preset
    assert len({each.hyper for each in records}) > 10
    for each in records:
        parameters = SPACE.parameters(each.hyper)
        assert all(value in SPACE.dimensions[key] for key, value in parameters.items())
        assert SPACE.admits(parameters)
    assert {each.state for each in records} >= {"complete", "failed"}


CONSTANT: dict[str, Dimension] = {
    "lr": FloatRange(low=2e-3, high=2e-3, log=True, significant_digits=2),
    "epochs": IntRange(low=25, high=25, step=5),
    "momentum": FloatRange(low=0.3, high=0.3),
    "alpha": FloatRange(low=1.0, high=1.0, step=0.5),
}


@pytest.mark.parametrize(("name", "objectives"), METHODS)
@pytest.mark.parametrize("free", [("batch_size", "optimiser"), ("lr", "batch_size", "optimiser"), ()], ids=len)
def test_constants_are_proposed_as_they_are(name: str, objectives: int, free: tuple[str, ...]) -> None:
    fixed = {**CONSTANT, "batch_size": Choice(values=(25,)), "optimiser": Choice(values=("sgd",))}
    dimensions = {key: SPACE.dimensions[key] if key in free else fixed[key] for key in SPACE.dimensions}
    preset = SPACE.preset.replaced({"lr": 2e-3, "optimiser": "sgd", "momentum": 0.3})
    space = replace(SPACE, dimensions=dimensions, constraints=(), preset=preset)
    records = search(name, 13, space, objectives)
    for each in records[1:]:
        parameters = space.parameters(each.hyper)
        assert all(parameters[key] in dimensions[key] for key in parameters)
        assert ("momentum" in parameters) == (parameters["optimiser"] == "sgd")
    assert (len({each.hyper for each in records[1:]}) > 1) == bool(free)


def test_what_a_constant_is_worth_is_not_asked() -> None:
    space = replace(SPACE, dimensions={**SPACE.dimensions, **CONSTANT, "lr": SPACE.dimensions["lr"]}, constraints=())
    study = optuna.create_study()
    for each in search("random", 17, space):
        parameters = space.parameters(each.hyper)
        if each.state == "complete":
            study.add_trial(
                optuna.create_trial(params=parameters, distributions=space.distributions(parameters), value=each.score)
            )
    worth = optuna.importance.get_param_importances(study)
    assert worth.keys() >= {"lr", "batch_size"}
    assert not any(worth.get(name) for name in CONSTANT if name != "lr")


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_follow_from_the_seed_and_differ_with_it(name: str) -> None:
    first, again, other = (next_after(proposer(name, seed=seed), []) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_given_is_proposed(name: str) -> None:
    assert proposer(name).propose(0, SPACE.preset_parameters) == SPACE.preset_parameters


@given(seed=st.integers(0, 10_000), name=st.sampled_from(CHEAP), digits=st.integers(1, 4))
@settings(max_examples=25)
def test_numbers_are_rounded_to_digits_and_conditions_decide_what_is_proposed(
    seed: int, name: str, digits: int
) -> None:
    space = replace(
        SPACE, dimensions={**SPACE.dimensions, "alpha": FloatRange(low=0.1, high=10.0, significant_digits=digits)}
    )
    for parameters in next_after(proposer(name, space, seed=seed), []):
        assert list(parameters) == [
            key for key in SPACE.dimensions if key != "momentum" or parameters["optimiser"] == "sgd"
        ]
        assert float(f"{parameters['alpha']:.{digits}g}") == parameters["alpha"]
        lr = float(parameters["lr"])
        assert lr in (1.5e-4, 9.5e-3) or float(f"{lr:.0e}") == lr
        assert parameters == space.parameters(space.hyper(parameters))


def tight(text: str) -> Space:
    return Space(
        dimensions={"lr": FloatRange(low=1e-4, high=1e-2), "alpha": FloatRange(low=0.0, high=1.0)},
        preset=get_variant("mlp_al").preset,
        constraints=(Constraint(text),),
    )


@pytest.mark.parametrize("name", CHEAP)
def test_a_constraint_that_a_sampler_does_not_meet_is_met_by_drawing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "ATTEMPTS", 2)
    space = tight("alpha <= 0.02")
    records: list[TrialRecord] = []
    proposing = proposer(name, space, objectives=1)
    while len(records) < 6:
        proposing.learn(records, lambda _: False)
        begin = len(records)
        proposed = [proposing.propose(number, None) for number in (begin, begin + 1)]
        assert all(0 <= float(each["alpha"]) <= 0.02 for each in proposed)
        assert len({str(each) for each in proposed}) == 2
        again = proposer(name, space, objectives=1)
        again.learn(records, lambda _: False)
        assert [again.propose(number, None) for number in (begin, begin + 1)] == proposed
        records += [
            outcome(begin + index, space.hyper(each), (begin, begin + 2), 1) for index, each in enumerate(proposed)
        ]


def test_a_constraint_that_nothing_fulfils_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "RANDOM_ATTEMPTS", 300)
    with pytest.raises(InputError, match=r"constraints .* must leave something to try, but none of 300 configurations"):
        proposer("tpe", tight("alpha + lr > 2")).propose(1, None)


def test_arithmetic_without_a_result_and_configurations_that_cannot_be_are_not_proposed() -> None:
    dimensions: dict[str, Dimension] = {
        "lr": FloatRange(low=1e-4, high=1e-2, log=True),
        "schedule": Choice(values=("constant", "cosine")),
        "lr_min": FloatRange(low=1e-5, high=1e-2, log=True),
        "momentum": Choice(values=(0.0, 0.5)),
    }
    space = Space(
        dimensions=dimensions,
        preset=SPACE.preset,
        constraints=(Constraint("lr_min / momentum <= lr"),),
    )
    proposed = [each for seed in range(5) for each in next_after(proposer("random", space, seed=seed), [])]
    assert all(each["momentum"] == 0.5 and float(each["lr_min"]) <= float(each["lr"]) / 2 for each in proposed)


LONG = Space(dimensions={"lr": FloatRange(low=1e-4, high=1e-2, log=True)}, preset=get_variant("mlp_al").preset)


def long_study(count: int) -> list[TrialRecord]:
    lr_T = numpy_generator(1, "lr").uniform(1e-4, 1e-2, count)
    return [outcome(number, LONG.hyper({"lr": float(lr)}), (number, number + 1), 1) for number, lr in enumerate(lr_T)]


@pytest.mark.parametrize("beyond", [1, 2])
def test_of_a_long_study_the_best_and_the_latest_are_learnt(beyond: int) -> None:
    left = beyond * REFRESH
    records = long_study(LATEST + left + 7)
    complete = [each for each in records[:left] if each.state == "complete"]
    best = sorted(complete, key=lambda each: (each.score, each.number))[:BEST]
    shown = [*sorted(best, key=lambda each: each.number), *records[left:]]
    proposed = next_after(proposer("tpe", LONG), records)
    study = proposer("tpe", LONG)
    study.learn(shown, given_first)
    assert [study.propose(len(records) + index, None) for index in range(POPULATION)] == proposed
    latest = proposer("tpe", LONG)
    latest.learn(records[-50:], given_first)
    assert [latest.propose(len(records) + index, None) for index in range(POPULATION)] != proposed


def test_what_is_shown_of_a_long_study_does_not_depend_on_how_it_was_learnt() -> None:
    records = search("tpe", LATEST + REFRESH + 9, LONG)
    for begin in range(LATEST - 3, len(records) - POPULATION, 8):
        expected = [LONG.parameters(each.hyper) for each in records[begin : begin + POPULATION]]
        assert next_after(proposer("tpe", LONG), records[:begin]) == expected


def test_two_objectives_are_both_minimised() -> None:
    records = search(TWO_OBJECTIVES, 13, objectives=2)
    costly = [each if each.cost is None else replace(each, cost=-each.cost) for each in records]
    assert next_after(proposer(TWO_OBJECTIVES), records) != next_after(proposer(TWO_OBJECTIVES), costly)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("random", "qmc")])
def test_samplers_learn_from_what_they_are_told(name: str) -> None:
    records = search(name, 15, LASTING)
    worse = [each if each.score is None else replace(each, score=1 - each.score) for each in records]
    proposed, otherwise = (next_after(proposer(name, LASTING, objectives=1), found, 2) for found in (records, worse))
    assert proposed != otherwise

"""Short trainings are read off longer ones, and what is read off what does not depend on interruptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.seeds import numpy_generator
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tasks.registry import get_variant
from pipeline.tuning.dimensions import Choice
from pipeline.tuning.ledger import Ledger, Method
from pipeline.tuning.paths import Known, Paths, pooled, reaches, read_off
from pipeline.tuning.space import Space
from pipeline.tuning.storage import open_storage
from pipeline.tuning.trial_samplers import Sampled
from pipeline.tuning.trials import PlannedTrial, State, TrialRecord, TrialResult

HYPER = Hyperparameters(lr=1e-3, batch_size=25, epochs=10)


def asked(number: int, epochs: int, hyper: Hyperparameters = HYPER, *, samples: int = 0, draw: int = 0) -> PlannedTrial:
    """A trial of a batch."""
    return PlannedTrial(
        number=number,
        hyper=replace(hyper, epochs=epochs),
        samples=samples,
        draw=draw,
        stop=None,
        batch=(number, number + 1),
    )


def result(epochs: int, state: State = "complete", seed: int = 0) -> TrialResult:
    """What a training of so many epochs saw; of a failed one, the last was no number in one fold."""
    folds = numpy_generator(seed, "folds").uniform(0, 1, (2, epochs))
    if state == "failed":
        folds[1, -1] = np.nan
    return TrialResult(
        curves={"validation_error": folds.mean(0).tolist(), "train_loss": folds.sum(0).tolist()},
        fold_errors=folds.tolist(),
        state=state,
        reason="" if state == "complete" else f"{state} after {epochs}",
    )


def record(
    number: int,
    planned: int,
    found: TrialResult | None = None,
    hyper: Hyperparameters = HYPER,
    *,
    samples: int = 0,
    draw: int = 0,
    source: str = "",
) -> TrialRecord:
    """A finished trial of `planned` epochs, complete unless it found something else."""
    found = found or result(planned)
    error = found.curves["validation_error"][-1] if found.state == "complete" else None
    return TrialRecord(
        number=number,
        state=found.state,
        reason=found.reason,
        error=error,
        score=error,
        hyper=replace(hyper, epochs=planned),
        samples=samples,
        draw=draw,
        curves=found.curves,
        fold_errors=found.fold_errors,
        source=source,
        started=datetime.now(),
        ended=datetime.now(),
    )


def divided(
    trials: Sequence[PlannedTrial], records: Sequence[TrialRecord] = (), elsewhere: Sequence[Known] = ()
) -> tuple[list[int], dict[int, int | str]]:
    """The numbers of the trials that are trained, and for each other one what it is read off."""
    paths = Paths(elsewhere)
    paths.learn(records)
    trained, sources = paths.divide(trials)
    names = {number: source.label if isinstance(source, Known) else source.number for number, source in sources.items()}
    return [trial.number for trial in trained], names


def test_the_longest_of_a_batch_is_trained_for_all_on_its_path() -> None:
    assert divided([asked(1, 5), asked(2, 20), asked(3, 10)]) == ([2], {1: 2, 3: 2})


def test_of_equals_the_first_is_trained() -> None:
    assert divided([asked(1, 5), asked(2, 10), asked(3, 10)]) == ([2], {1: 2, 3: 2})


@pytest.mark.parametrize(
    "change",
    [{"lr": 2e-3}, {"batch_size": 50}, {"alpha": 1.0}, {"optimiser": "sgd"}, {"weight_decay": 0.1}],
    ids=str,
)
def test_trials_on_other_paths_are_trained_themselves(change: dict[str, float | str]) -> None:
    other = HYPER.replaced(change)
    assert divided([asked(1, 5), asked(2, 20, other), asked(3, 10)]) == ([2, 3], {1: 3})


def test_trials_of_another_structure_are_on_another_path() -> None:
    thin, wide = (replace(HYPER, structure=(("nodes", nodes),)) for nodes in (16, 32))
    assert divided([asked(1, 5, thin), asked(2, 20, wide), asked(3, 10, thin)]) == ([2, 3], {1: 3})
    assert divided([asked(5, 10, thin)], [record(1, 10, hyper=wide), record(2, 10, hyper=thin)]) == ([], {5: "trial 2"})


def test_trials_on_another_number_of_samples_are_on_another_path() -> None:
    assert divided([asked(1, 5, samples=350), asked(2, 20), asked(3, 10, samples=350)]) == ([2, 3], {1: 3})
    assert divided([asked(5, 10)], [record(1, 10, samples=350), record(2, 10)]) == ([], {5: "trial 2"})
    assert divided([asked(5, 10)], [record(1, 10, samples=350)]) == ([5], {})


def test_a_trial_is_read_off_an_earlier_one_that_was_as_long_or_longer() -> None:
    assert divided([asked(5, 10)], [record(1, 10)]) == ([], {5: "trial 1"})
    trials = [asked(5, 10), asked(6, 30), asked(7, 20)]
    assert divided(trials, [record(1, 25)]) == ([6], {5: "trial 1", 7: "trial 1"})


def test_of_several_earlier_ones_the_first_is_taken() -> None:
    records = [record(0, 5), record(1, 20), record(3, 30)]
    assert divided([asked(5, 10), asked(6, 5), asked(7, 25)], records) == (
        [],
        {5: "trial 1", 6: "trial 0", 7: "trial 3"},
    )


def test_a_shorter_earlier_trial_gives_nothing() -> None:
    assert divided([asked(5, 10), asked(6, 3)], [record(1, 9)]) == ([5], {6: "trial 1"})


def test_a_training_of_an_earlier_batch_that_ended_early_gives_what_it_reached() -> None:
    stopped = record(2, 20, result(3, "pruned"))
    assert divided([asked(3, 3), asked(4, 4)], [stopped]) == ([4], {3: "trial 2"})


def test_draws_of_a_configuration_are_trained_each() -> None:
    assert divided([asked(1, 10), asked(2, 10, draw=1), asked(3, 5, draw=1)]) == ([1, 2], {3: 2})
    assert divided([asked(5, 10, draw=1)], [record(1, 10)]) == ([5], {})
    assert divided([asked(5, 10, draw=1)], [record(1, 10), record(2, 10, draw=1)]) == ([], {5: "trial 2"})


def test_what_is_known_from_elsewhere_is_not_trained_again() -> None:
    elsewhere = [
        Known("trial 7 of study a", record(7, 10)),
        Known("trial 8 of study a", record(8, 30)),
        Known("trial 0 of study b", record(0, 30, samples=350)),
    ]
    trials = [asked(1, 10), asked(2, 20), asked(3, 40), asked(4, 5, samples=350), asked(5, 5, samples=10)]
    assert divided(trials, elsewhere=elsewhere) == (
        [3, 5],
        {1: "trial 7 of study a", 2: "trial 8 of study a", 4: "trial 0 of study b"},
    )


def test_what_the_study_knows_itself_goes_before_what_others_know() -> None:
    elsewhere = [Known("trial 7 of study a", record(7, 30))]
    assert divided([asked(5, 10), asked(6, 20)], [record(1, 15)], elsewhere) == (
        [],
        {5: "trial 1", 6: "trial 7 of study a"},
    )


@given(folds=st.lists(st.integers(1, 4), min_size=2, max_size=4), epochs=st.integers(1, 5), seed=st.integers(0, 99))
def test_draws_are_pooled_fold_by_fold(folds: list[int], epochs: int, seed: int) -> None:
    error_FE = numpy_generator(seed, "folds").uniform(0, 1, (sum(folds), epochs))
    parts = np.split(error_FE, np.cumsum(folds)[:-1])
    found = [
        TrialResult(
            curves={"validation_error": part.mean(0).tolist(), "train_loss": part.sum(1).mean() * np.ones(epochs)},
            fold_errors=part.tolist(),
            state="complete",
        )
        for part in parts
    ]
    together = found[0]
    for number, another in enumerate(found[1:]):
        together = pooled(another, together, f"trial {number}")
        assert together.source == f"adds to trial {number}"
    assert np.allclose(together.curves["validation_error"], error_FE.mean(0))
    assert np.allclose(together.curves["train_loss"], error_FE.sum(1).mean())
    assert together.fold_errors == error_FE.tolist()


@pytest.mark.parametrize("states", [("complete", "failed"), ("complete", "pruned"), ("failed", "complete")])
def test_what_is_not_complete_is_not_pooled(states: tuple[State, State]) -> None:
    found, before = (result(8, state, seed) for seed, state in enumerate(states))
    assert pooled(found, before, "trial 1") is found
    assert pooled(found, record(1, 8, before), "trial 1") is found


def test_a_trial_that_was_read_off_is_no_source_itself() -> None:
    assert divided([asked(5, 10)], [record(1, 10, source="read off trial 0")]) == ([5], {})


def test_a_trial_without_curves_is_no_source() -> None:
    lost = TrialResult(curves={}, fold_errors=[], state="failed", reason="the process died")
    assert divided([asked(5, 10)], [replace(record(1, 10), curves=lost.curves, state=lost.state)]) == ([5], {})


def test_a_cosine_over_all_epochs_is_never_read_off_another_length() -> None:
    cosine = HYPER.replaced({"schedule": "cosine"})
    assert divided([asked(5, 10, cosine), asked(6, 20, cosine)], [record(1, 30, hyper=cosine)]) == ([5, 6], {})
    restarts = HYPER.replaced({"schedule": "cosine_restarts"})
    assert divided([asked(5, 10, restarts), asked(6, 20, restarts)]) == ([6], {5: 6})


def test_paths_learn_from_batch_to_batch() -> None:
    paths, records = Paths(), [record(0, 5)]
    paths.learn(records)
    assert paths.divide([asked(1, 10)])[1] == {}
    records.append(record(1, 10))
    paths.learn(records)
    paths.learn(records)
    assert paths.divide([asked(2, 10)]) == ([], {2: Known("trial 1", records[1])})


@pytest.mark.parametrize(("state", "reached"), [("complete", 8), ("pruned", 8), ("failed", 7)])
def test_a_training_reaches_its_last_sound_epoch(state: State, reached: int) -> None:
    for found in (result(8, state), record(1, 20, result(8, state))):
        assert [reaches(found, epochs) for epochs in (1, reached, reached + 1)] == [True, True, False]


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_what_is_read_off_is_what_a_training_of_its_own_length_saw(state: State) -> None:
    longer = result(8, state)
    for source in (longer, record(3, 20, longer)):
        found = read_off(source, "trial 3", 5)
        assert (found.state, found.reason, found.source) == ("complete", "", "read off trial 3")
        assert found.curves == {name: values[:5] for name, values in longer.curves.items()}
        assert found.fold_errors == [errors[:5] for errors in longer.fold_errors]


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_where_the_longer_training_ended_before_the_shorter_one_ends_with_it(state: State) -> None:
    longer = result(8, state)
    for source in (longer, record(3, 20, longer)):
        found = read_off(source, "trial 3", 10)
        assert (found.state, found.reason, found.source) == (state, longer.reason, "read off trial 3")
        assert found.curves == longer.curves
        assert found.fold_errors == longer.fold_errors


POPULATION, TRIALS, EPOCHS, SEED = 6, 31, (6, 9, 15, 25), 18


def space() -> Space:
    """With so few combinations that most trials lie on the path of another one."""
    dimensions = {"lr": Choice(values=(1e-3, 3e-3, 1e-2)), "epochs": Choice(values=EPOCHS)}
    return Space(dimensions=dimensions, preset=get_variant("mlp").preset)


def open_ledger(path: Path) -> Ledger:
    """As a new process would open it."""
    method = Method(space=space(), trial_sampler=Sampled(TRIALS), population=POPULATION, seed=SEED, pruner="median")
    return Ledger.open(open_storage(f"sqlite:///{path}"), "study", {}, method)


def train(trial: PlannedTrial) -> TrialResult:
    """A training whose weights come from the number of its trial; one learning rate is bad, and one diverges."""
    generator = numpy_generator(SEED, "trial", trial.number)
    level, last = generator.uniform(0.1, 0.2) + 0.2 * (trial.hyper.lr == 3e-3), int(generator.integers(4, 25))
    errors: list[float] = []
    state: State = "complete"
    for epoch in range(1, trial.hyper.epochs + 1):
        errors.append(level + 0.3 / epoch + 0.01 * generator.random())
        if trial.hyper.lr == 1e-2 and epoch == last:
            errors[-1], state = np.nan, "failed"
        elif trial.stop is not None and epoch < trial.hyper.epochs and trial.stop([errors, errors]):
            state = "pruned"
        if state != "complete":
            break
    reason = "" if state == "complete" else f"{state} after epoch {len(errors)}"
    return TrialResult(curves={"validation_error": errors}, fold_errors=[errors, errors], state=state, reason=reason)


def search(ledger: Ledger) -> Iterator[int]:
    """Search as the stage does; yields the number of each trial that was told."""
    paths = Paths()
    while asked := ledger.next_batch():
        numbers = {trial.number for trial in asked}
        paths.learn(record for record in ledger.records() if record.number not in numbers)
        trained, sources = paths.divide(asked)
        found = {trial.number: train(trial) for trial in trained}
        for trial in asked:
            match sources.get(trial.number):
                case Known() as known:
                    found[trial.number] = read_off(known.record, known.label, trial.hyper.epochs)
                case PlannedTrial() as longer:
                    longest = found[longer.number]
                    found[trial.number] = read_off(longest, f"trial {longer.number}", trial.hyper.epochs)
            if not trial.is_recorded:
                ledger.tell(trial.number, found[trial.number])
                yield trial.number


def table(ledger: Ledger) -> list[tuple[object, ...]]:
    """Everything that is known of finished trials, but for the times."""
    return [
        (part.number, part.state, part.reason, part.hyper, part.error, part.source, str(part.curves))
        for part in ledger.records()
    ]


class Whole:
    """A search that ran through."""

    def __init__(self, path: Path) -> None:
        ledger = open_ledger(path)
        list(search(ledger))
        self.records, self.table = ledger.records(), table(ledger)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole") / "optuna.db")


def source_of(part: TrialRecord) -> int | None:
    """The number of the trial that it was read off."""
    return int(part.source.removeprefix("read off trial ")) if part.source else None


def test_the_example_trains_less_than_it_finds_and_reads_off_every_kind_of_trial(whole: Whole) -> None:
    read = [part for part in whole.records if part.source]
    assert {part.state for part in read} == {"complete", "pruned", "failed"}
    assert {part.number < (source_of(part) or 0) for part in read} == {True, False}


def test_what_a_search_reads_off_is_on_the_path_of_a_training(whole: Whole) -> None:
    for part in whole.records:
        if (number := source_of(part)) is not None:
            source = whole.records[number]
            assert not source.source
            assert source.hyper.path == part.hyper.path
            length = len(part.curves["validation_error"])
            assert str(part.curves["validation_error"]) == str(source.curves["validation_error"][:length])
            assert length == part.hyper.epochs or part.state == source.state != "complete"


@pytest.mark.parametrize("life", [1, 4])
def test_a_search_that_dies_after_so_many_trials_again_and_again_ends_as_one_that_ran_through(
    path: Path, whole: Whole, life: int
) -> None:
    lived = [0]
    while lived:
        lived = [number for number, _ in zip(search(open_ledger(path)), range(life), strict=False)]
    assert table(open_ledger(path)) == whole.table

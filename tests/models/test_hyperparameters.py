"""Configurations: what they may be, what they are called, and what has an effect in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.hyperparameters import (
    BATCH_NORM,
    CHOICES,
    DEFAULTS,
    DROPOUT,
    HYPERPARAMETERS,
    Hyperparameters,
    Option,
    Value,
)
from pipeline.models.variant import Variant
from pipeline.tasks.registry import get_variant
from tests.models.networks import every


@pytest.mark.parametrize(
    "wrong",
    [
        *({"lr": value} for value in (0.0, -1e-3, 100.1, float("nan"), float("inf"))),
        *({"alpha": value} for value in (-0.1, 1.1e6, float("nan"), float("inf"))),
        *({"batch_size": value} for value in (0, -1, 100_001)),
        *({"epochs": value} for value in (0, -1, 10_001)),
        *({"momentum": value} for value in (-0.1, 1.1, float("nan"))),
        *({"weight_decay": value} for value in (-1e-9, 1e4, float("inf"))),
        *({"lr_min": value} for value in (-1e-9, 101.0, float("nan"))),
        *({"restart_epochs": value} for value in (0, 10_001, 2.5)),
    ],
    ids=str,
)
def test_impossible_hyperparameters_are_refused_by_name(wrong: dict[str, Any]) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"but got {name}={value}")):
        make_hyperparameters(**wrong)


@pytest.mark.parametrize("schedule", ["cosine", "cosine_restarts"])
def test_a_schedule_cannot_end_above_its_beginning(schedule: str) -> None:
    with pytest.raises(InputError, match=r"lr_min must be at least 0 and at most 0.001, but got lr_min=0.002"):
        make_hyperparameters(schedule=schedule, lr_min=2e-3)
    make_hyperparameters(schedule=schedule, lr_min=1e-3)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"optimiser": "adamw"}, "unknown optimiser 'adamw'; did you mean adam?"),
        ({"optimiser": "SGD"}, "unknown optimiser 'SGD'; choose from: adam, rmsprop, sgd"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean cosine"),
        ({"schedule": "step"}, "unknown schedule 'step'; choose from: constant, cosine, cosine_restarts"),
        ({"optimiser": 1}, "unknown optimiser '1'; choose from"),
    ],
    ids=str,
)
def test_an_unknown_name_gives_the_near_misses(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make_hyperparameters(**wrong)
    assert rule in str(caught.value)


def make_hyperparameters(**changes: Any) -> Hyperparameters:
    return replace(Hyperparameters(lr=1e-3, batch_size=25, epochs=25, alpha=1.0, structure=STRUCTURE), **changes)


STRUCTURE = (("dropout", 0.2), ("nodes", 128), ("auxiliary", True))


def test_extreme_hyperparameters_are_allowed() -> None:
    make_hyperparameters(lr=100.0, alpha=1e6, batch_size=100_000, epochs=10_000)
    make_hyperparameters(lr=1e-12, alpha=0.0, batch_size=1, epochs=1)
    make_hyperparameters(momentum=1.0, weight_decay=1e3, lr_min=100.0, restart_epochs=10_000)


CHANGES: dict[str, Any] = {
    "lr": 2e-3,
    "batch_size": 26,
    "epochs": 26,
    "alpha": 0.5,
    "optimiser": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "lr_min": 1e-5,
    "restart_epochs": 6,
    "augmentation": "crop_flip",
    "inputs": "unit",
}


def test_equal_hyperparameters_and_only_they_have_equal_hashes() -> None:
    assert make_hyperparameters().hash == make_hyperparameters().hash
    assert re.fullmatch("[0-9a-f]{12}", make_hyperparameters().hash)
    nothing_idle = {"optimiser": "sgd", "schedule": "cosine_restarts"}
    changes = CHANGES | {"optimiser": "rmsprop", "schedule": "cosine"}
    changed = [make_hyperparameters(**{**nothing_idle, name: value}) for name, value in changes.items()]
    others = [make_hyperparameters(**nothing_idle, structure=structure) for structure in STRUCTURES]
    hashes = {hyper.hash for hyper in (make_hyperparameters(**nothing_idle), *changed, *others)}
    assert len(hashes) == 1 + len(HYPERPARAMETERS) + len(STRUCTURES)


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "cosine_restarts"])
def test_what_has_no_effect_makes_no_other_configuration(optimiser: str, schedule: str) -> None:
    one = make_hyperparameters(optimiser=optimiser, schedule=schedule)
    for name in ("momentum", "lr_min", "restart_epochs"):
        other = one.replaced({name: CHANGES[name]})
        same = name not in one.effective
        assert (other.hash == one.hash, other.path == one.path, other.canonical == one.canonical) == (same,) * 3
    assert one.canonical.effective == one.effective
    assert one.canonical.canonical == one.canonical


STRUCTURES = [
    (),
    STRUCTURE[:2],
    (("dropout", 0.3), *STRUCTURE[1:]),
    (("dropout", 0.2), ("nodes", 129), ("auxiliary", True)),
    (("dropout", 0.2), ("nodes", 128), ("auxiliary", False)),
    (("dropout", 0.2), ("width", 128), ("auxiliary", True)),
]


@pytest.mark.parametrize("name", ["lr", "alpha", "momentum", "weight_decay", "lr_min"])
def test_whole_numbers_and_their_fractions_are_the_same_configuration(name: str) -> None:
    whole, real = (make_hyperparameters(**{name: value}) for value in (1, 1.0))
    assert (whole, whole.hash) == (real, real.hash)


def test_the_names_for_search_spaces_are_the_fields_with_their_types() -> None:
    values = make_hyperparameters().as_dict()
    assert list(values) == [*HYPERPARAMETERS, *dict(STRUCTURE)]
    assert list(HYPERPARAMETERS) == list(CHANGES)
    assert all(type(values[name]) is kind for name, kind in HYPERPARAMETERS.items())


def test_a_default_is_what_a_configuration_has_that_does_not_say_it() -> None:
    plain = Hyperparameters(lr=1.0, batch_size=1, epochs=1)
    assert DEFAULTS.keys() == HYPERPARAMETERS.keys() - {"lr", "batch_size", "epochs"}
    assert plain.as_dict().items() >= DEFAULTS.items()


def test_every_name_that_is_a_choice_can_be_chosen() -> None:
    assert all(HYPERPARAMETERS[name] is str for name in CHOICES)
    for name, known in CHOICES.items():
        assert DEFAULTS[name] in known
        for chosen in known:
            assert getattr(make_hyperparameters(**{name: chosen}), name) == chosen


@every()
def test_what_a_preset_says_as_text_is_read_back_equal(variant: Variant) -> None:
    text = json.dumps(variant.preset.as_dict())
    assert Hyperparameters.of(json.loads(text)) == variant.preset


@given(names=st.sets(st.sampled_from(sorted({*HYPERPARAMETERS, "nodes", "auxiliary", "dropout"})), min_size=1))
def test_replacing_changes_what_it_is_told_and_nothing_else(names: set[str]) -> None:
    new: dict[str, Value] = {**CHANGES, "nodes": 16, "auxiliary": False, "dropout": 0.5}
    told = {name: new[name] for name in names}
    hyper = make_hyperparameters()
    changed = hyper.replaced(told)
    assert changed.as_dict() == {**hyper.as_dict(), **told}
    assert Hyperparameters.of(changed.as_dict()) == changed
    assert [name for name, _ in changed.structure] == [name for name, _ in STRUCTURE]


def test_replacing_checks_what_it_is_told() -> None:
    with pytest.raises(InputError, match="momentum must be"):
        make_hyperparameters().replaced({"momentum": 2})


@pytest.mark.parametrize(
    ("name", "near"), [("node", "did you mean nodes?"), ("learning_rate", "choose from: .*auxiliary, .*nodes")]
)
def test_replacing_refuses_what_is_neither_a_hyperparameter_nor_an_option(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown hyperparameter '{name}'; {near}"):
        make_hyperparameters().replaced({name: 1})


def test_an_option_that_is_a_real_number_stays_one() -> None:
    whole, real = (make_hyperparameters().replaced({"dropout": value}) for value in (0, 0.0))
    assert (whole, whole.hash) == (real, real.hash)
    assert type(dict(whole.structure)["dropout"]) is float


@pytest.mark.parametrize("schedule", ["constant", "cosine_restarts"])
def test_trainings_that_differ_in_length_alone_are_on_one_path(schedule: str) -> None:
    short, long = (make_hyperparameters(schedule=schedule, epochs=epochs) for epochs in (3, 30))
    assert short.path == long.path
    others = [make_hyperparameters(**{"schedule": schedule, name: value}) for name, value in CHANGES.items()]
    paths = {name: other.path for name, other in zip(CHANGES, others, strict=True)}
    idle = CHANGES.keys() - short.effective.keys()
    assert {name for name, path in paths.items() if path == short.path} == {"epochs", *idle}
    structures = [make_hyperparameters(schedule=schedule, structure=structure) for structure in STRUCTURES]
    assert all(other.path != short.path for other in structures)


def test_a_cosine_over_all_epochs_is_a_path_of_its_own() -> None:
    short, long = (make_hyperparameters(schedule="cosine", epochs=epochs) for epochs in (3, 30))
    assert short.path != long.path
    assert short.path == make_hyperparameters(schedule="cosine", epochs=3).path


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, ["momentum", "lr_min", "restart_epochs"]),
        ({"optimiser": "rmsprop"}, ["momentum", "lr_min", "restart_epochs"]),
        ({"optimiser": "sgd"}, ["lr_min", "restart_epochs"]),
        ({"schedule": "cosine"}, ["momentum", "restart_epochs"]),
        ({"schedule": "cosine_restarts"}, ["momentum"]),
        ({"optimiser": "sgd", "schedule": "cosine_restarts"}, []),
    ],
    ids=str,
)
def test_what_has_no_effect_is_not_shown(changes: dict[str, Any], idle: list[str]) -> None:
    hyper = make_hyperparameters(**changes)
    assert hyper.effective == {name: value for name, value in hyper.as_dict().items() if name not in idle}
    assert get_variant("mlp_al").shown(hyper) == hyper.effective
    without = get_variant("mlp").shown(hyper)
    assert without == {name: value for name, value in hyper.effective.items() if name != "alpha"}


def test_alpha_is_shown_only_where_there_is_an_auxiliary_classifier() -> None:
    lenet = get_variant("lenet_digits")
    with_one, without = (lenet.preset.replaced({"auxiliary": auxiliary}) for auxiliary in (True, False))
    assert lenet.shown(with_one) == with_one.effective
    assert lenet.shown(without) == {name: value for name, value in without.effective.items() if name != "alpha"}


def test_hyperparameters_that_a_variant_does_not_have_are_not_shown() -> None:
    disc = get_variant("disc_mlp")
    names = {"lr", "batch_size", "epochs", "schedule", "nodes", "layers"}
    assert disc.shown(disc.preset).keys() == names


NODES = Option(name="nodes", kind=int, low=1, high=64, meaning="width")
SIZE = Option(name="size", kind=int, low=1, high=7, odd=True, meaning="width of a window")


@pytest.mark.parametrize(
    ("option", "values"),
    [(BATCH_NORM, [True, False]), (DROPOUT, [0, 0.0, 0.95]), (NODES, [1, 2, 64]), (SIZE, [1, 3, 7])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_option_admits_its_bounds_and_what_lies_between(option: Option, values: list[Value]) -> None:
    for value in values:
        option.check(value)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        (BATCH_NORM, 1, "batch_norm must be on or off, but got batch_norm=1"),
        (BATCH_NORM, "on", "batch_norm must be on or off, but got batch_norm=on"),
        (DROPOUT, -0.1, "dropout must be at least 0 and at most 0.95, but got dropout=-0.1"),
        (DROPOUT, 0.96, "dropout must be at least 0 and at most 0.95, but got dropout=0.96"),
        (DROPOUT, float("nan"), "dropout must be at least 0 and at most 0.95, but got dropout=nan"),
        (NODES, 0, "nodes must be a whole number between 1 and 64, but got nodes=0"),
        (NODES, 65, "nodes must be a whole number between 1 and 64, but got nodes=65"),
        (NODES, 2.0, "nodes must be a whole number between 1 and 64, but got nodes=2.0"),
        (NODES, True, "nodes must be a whole number between 1 and 64, but got nodes=True"),
        (SIZE, 4, "size must be odd, but got size=4"),
        (SIZE, 9, "size must be a whole number between 1 and 7, but got size=9"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_an_option_refuses_anything_else(option: Option, value: Value, rule: str) -> None:
    with pytest.raises(InputError, match=re.escape(rule)):
        option.check(value)


def test_an_option_says_what_it_admits() -> None:
    assert [option.admitted for option in (BATCH_NORM, DROPOUT, NODES, SIZE)] == [
        "on, off",
        "0 to 0.95",
        "1 to 64",
        "1 to 7, odd",
    ]

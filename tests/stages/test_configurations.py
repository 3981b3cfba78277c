"""What people type: grids, and changes to a configuration."""

from __future__ import annotations

import itertools

import pytest

from pipeline.base.errors import InputError
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.models.variant import Variant
from pipeline.stages.configurations import parse_changes, parse_grid
from pipeline.stages.stage import show_hyper
from pipeline.tasks.registry import get_variant, variants

BAD = [
    ("mlp", "lr", "name=value,value"),
    ("mlp", "lr=", "name=value,value"),
    ("mlp", "lrr=1", "did you mean lr"),
    ("mlp", "optimizer=adam", "did you mean optimiser"),
    ("mlp", "batchnorm=on", r"unknown hyperparameter 'batchnorm'; did you mean batch_norm"),
    ("mlp", "nodes=5", "unknown hyperparameter 'nodes'"),
    ("disc_mlp", "batch_norm=on", "unknown hyperparameter 'batch_norm'"),
    ("disc_mlp", "optimiser=sgd", "unknown hyperparameter 'optimiser'"),
    ("mlp", "lr=a", "lr must be a number, but got 'a'"),
    ("mlp", "lr=nan", "lr must be greater than 0"),
    ("mlp", "epochs=1.5", "epochs must be a whole number, but got '1.5'"),
    ("mlp", "epochs=0", "epochs must be a whole number between 1 and"),
    ("mlp", "restart_epochs=1.5", "restart_epochs must be a whole number"),
    ("mlp", "momentum=x", "momentum must be a number, but got 'x'"),
    ("mlp", "schedule=cosine lr_min=1", "lr_min must be at least 0 and at most 0.001"),
    ("mlp", "lr=1 lr=2", "lr stands twice"),
    ("mlp", "alpha=1", "alpha weighs an auxiliary loss, but mlp has none; got alpha"),
    ("linear_digits", "alpha=0", "alpha weighs an auxiliary loss, but linear_digits has none"),
    ("mlp", "optimiser=adm", "unknown optimiser 'adm'; did you mean adam"),
    ("mlp", "schedule=linear", "unknown schedule 'linear'; choose from: constant"),
    ("mlp", "augmentation=rotation", "unknown augmentation 'rotation'; did you mean rotate"),
    ("mlp", "batch_norm=maybe", "batch_norm must be on or off, but got 'maybe'"),
    ("mlp", "batch_norm=1", "batch_norm must be on or off, but got '1'"),
    ("mlp", "dropout=1", "dropout must be at least 0 and at most 0.95"),
    ("mlp", "dropout=half", "dropout must be a number, but got 'half'"),
    ("mlp", "batch_norm=on batch_size=1", "batch normalisation needs at least 2 samples a step, but got batch_size=1"),
    ("resnet4", "batch_size=1", "for resnet4; choose a larger one, or batch_norm=off"),
    ("resnet_digits", "kernel=4", "kernel must be odd, but got kernel=4"),
    ("linear_digits", "layers=0", "layers must be a whole number between 1 and 20"),
    ("linear_digits", "nodes=1.5", "nodes must be a whole number, but got '1.5'"),
    ("lenet_digits", "auxiliary=both", "auxiliary must be on or off"),
]
"""Model, text, and what is said of it, as a grid and as changes."""
bad = pytest.mark.parametrize(("model", "text", "rule"), BAD, ids=[" ".join(case[:2]) for case in BAD])
every_variant = pytest.mark.parametrize("variant", variants().values(), ids=lambda variant: variant.name)


@bad
def test_a_bad_grid_is_refused_with_the_part_that_is_wrong(model: str, text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        parse_grid(text, get_variant(model))


@bad
def test_bad_changes_are_refused_with_the_part_that_is_wrong(model: str, text: str, rule: str) -> None:
    variant = get_variant(model)
    with pytest.raises(InputError, match=rule):
        parse_changes(text, variant.preset, variant)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "it is empty"),
        ("lr=1,1.0", "names some twice"),
        ("optimiser=adam,adam", "names some twice"),
        ("batch_norm=on,true", "names some twice"),
        ("dropout=0,0.0", "names some twice"),
        ("preset epochs=2", "but got 'preset'"),
        ("epochs=" + ",".join(map(str, range(1, 1500))), "1000 cells at most, but got 1499"),
    ],
)
def test_a_grid_has_some_cells_that_differ_and_not_too_many(text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        parse_grid(text, get_variant("mlp"))


def test_a_change_is_one_value() -> None:
    with pytest.raises(InputError, match="one value is set for each hyperparameter, but dropout was given 2"):
        parse_changes("lr=1 dropout=0,0.5", get_variant("mlp").preset, get_variant("mlp"))


@every_variant
def test_a_configuration_as_it_is_shown_can_be_typed(variant: Variant) -> None:
    shown = show_hyper(variant, variant.preset)
    other = variant.preset.replaced({"lr": 0.5, "epochs": 7})
    assert parse_changes(shown, other, variant) == variant.preset
    assert parse_grid(shown, variant) == parse_grid("preset", variant) == [variant.preset]
    assert parse_changes("", other, variant) == other


@every_variant
def test_every_option_can_be_varied(variant: Variant) -> None:
    for option in variant.options:
        value = dict(variant.preset.structure)[option.name]
        text = {bool: "on,off", int: "1,3", float: "0.25,0.5"}[option.kind]
        cells = parse_grid(f"{option.name}={text}", variant)
        values = [dict(cell.structure)[option.name] for cell in cells]
        assert values == {bool: [True, False], int: [1, 3], float: [0.25, 0.5]}[option.kind]
        assert [cell.replaced({option.name: value}) for cell in cells] == [variant.preset] * 2


def test_a_grid_is_the_product_of_its_values_over_the_preset() -> None:
    cells = parse_grid("lr=1e-3,1e-2 batch_norm=on,off epochs=2", get_variant("mlp"))
    assert [(cell.lr, dict(cell.structure)["batch_norm"], cell.epochs, cell.batch_size) for cell in cells] == [
        (*chosen, 2, 25) for chosen in itertools.product([1e-3, 1e-2], [True, False])
    ]


def test_the_cells_of_a_grid_over_names_are_configurations() -> None:
    cells = parse_grid("optimiser=sgd,rmsprop momentum=0.9 augmentation=crop_flip,rotate", get_variant("mlp"))
    same = get_variant("mlp").preset.replaced({"momentum": 0.9})
    assert cells == [
        same.replaced({"optimiser": optimiser, "augmentation": augmentation})
        for optimiser, augmentation in itertools.product(("sgd", "rmsprop"), ("crop_flip", "rotate"))
    ]


@pytest.mark.parametrize("word", ["on", "On", "true", "TRUE"])
def test_a_switch_is_typed_in_either_way(word: str) -> None:
    variant = get_variant("mlp")
    assert parse_changes(f"batch_norm={word}", variant.preset, variant) == variant.preset.replaced({"batch_norm": True})


def test_one_sample_a_step_is_enough_where_nothing_is_normalised() -> None:
    [cell] = parse_grid("batch_norm=off batch_size=1", get_variant("resnet4"))
    assert (cell.batch_size, dict(cell.structure)["batch_norm"]) == (1, False)


def test_a_configuration_is_shown_without_its_defaults_and_what_has_no_effect() -> None:
    hyper = Hyperparameters(lr=1e-3, batch_size=25, epochs=4, alpha=0.5, momentum=0.9)
    assert show_hyper(get_variant("mlp_al"), hyper) == "lr=0.001 batch_size=25 epochs=4 alpha=0.5"
    assert show_hyper(get_variant("mlp"), hyper) == "lr=0.001 batch_size=25 epochs=4"
    changed = hyper.replaced({"optimiser": "sgd", "schedule": "cosine", "weight_decay": 1e-5})
    assert show_hyper(get_variant("mlp"), changed) == (
        "lr=0.001 batch_size=25 epochs=4 optimiser=sgd momentum=0.9 weight_decay=1e-05 schedule=cosine"
    )


def test_options_are_shown_where_they_or_the_preset_are_not_ordinary() -> None:
    mlp, resnet = get_variant("mlp"), get_variant("resnet4")
    assert "batch_norm" not in show_hyper(mlp, mlp.preset)
    assert show_hyper(mlp, mlp.preset.replaced({"batch_norm": True, "dropout": 0.4})).endswith(
        " batch_norm=on dropout=0.4"
    )
    assert "batch_norm=on" in show_hyper(resnet, resnet.preset)
    assert "batch_norm=off" in show_hyper(resnet, resnet.preset.replaced({"batch_norm": False}))


def test_alpha_is_shown_only_with_an_auxiliary_classifier() -> None:
    lenet = get_variant("lenet_digits")
    assert "alpha=0.3" in show_hyper(lenet, lenet.preset)
    assert "alpha" not in show_hyper(lenet, lenet.preset.replaced({"auxiliary": False}))

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from pipeline.base.errors import SpaceError
from pipeline.models.variant import Variant
from pipeline.tasks.registry import get_variant, variants
from pipeline.tuning.dimensions import Choice, FloatRange, IntRange
from pipeline.tuning.space import Condition, Space
from pipeline.tuning.space_file import SPACES, family_space, listed_models, load_space

TWO_STEP = SPACES / "two_step.yaml"
LR = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\n"


@pytest.fixture(scope="module")
def variant() -> Variant:
    return get_variant("mlp_al")


def load(folder: Path, variant: Variant, text: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(variant, path)


def names(*tasks: str) -> list[str]:
    return [variant.name for variant in variants().values() if variant.task in tasks]


@pytest.mark.parametrize("name", variants())
def test_every_variant_has_a_space_that_fits_it(name: str) -> None:
    variant = get_variant(name)
    space = load_space(variant)
    assert space.preset == variant.preset
    assert all(value in space.dimensions[key] for key, value in space.preset_parameters.items())
    assert ("alpha" in space.dimensions) == ("alpha" in variant.objective.hyperparameters)
    assert set(space.dimensions) <= set(variant.hyperparameters)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        hyper = space.suggest(study.ask())
        assert variant.check(hyper) is hyper


def test_every_space_file_belongs_to_a_variant() -> None:
    files = set(SPACES.glob("*.yaml"))
    own = {family_space(variant) for variant in variants().values()}
    assert files >= own | {TWO_STEP}
    for path in files - own - {TWO_STEP}:
        assert listed_models(path, variants())
        for name in listed_models(path):
            load_space(get_variant(name), path)
    assert {path.name for path in SPACES.iterdir() if path.suffix != ".yaml"} == {"screen", "reports"}
    assert {path.stem for path in (SPACES / "screen").iterdir()} <= set(variants())


@pytest.mark.parametrize("path", sorted((SPACES / "screen").iterdir()), ids=lambda path: path.stem)
def test_all_combinations_of_a_screening_are_configurations_of_its_variant(path: Path) -> None:
    variant = get_variant(path.stem)
    space = load_space(variant, path, complete=True)
    cells = space.grid(space.dimensions)
    assert len(cells) == math.prod(len(dimension.grid) for dimension in space.dimensions.values())
    assert len({variant.check(variant.preset.replaced(cell)) for cell in cells}) == len(cells)
    assert space.preset_parameters in cells


@pytest.mark.parametrize("path", sorted((SPACES / "reports").iterdir()), ids=lambda path: path.stem)
def test_the_spaces_of_a_report_fit_the_variants_that_they_name(path: Path) -> None:
    models = listed_models(path, variants())
    assert models
    for name in models:
        variant = get_variant(name)
        space = load_space(variant, path, complete=True)
        cells = space.grid(space.dimensions)
        assert len(cells) > 1
        assert len({variant.check(space.hyper(cell)) for cell in cells}) == len(cells)


@pytest.mark.parametrize("name", names("pairs", "digits"))
def test_the_spaces_of_a_search_in_two_steps_fit_every_variant(name: str) -> None:
    variant = get_variant(name)
    space = load_space(variant, TWO_STEP, complete=True)
    assert {"lr", "batch_size"} <= space.dimensions.keys() <= variant.hyperparameters.keys()
    for cell in space.grid(space.dimensions):
        variant.check(variant.preset.replaced(cell))
    assert ("alpha" in space.dimensions) == ("alpha" in variant.objective.hyperparameters)
    if "alpha" in space.dimensions:
        assert variant.preset.alpha in space.dimensions["alpha"].grid


def test_all_kinds_of_dimension_are_read(tmp_path: Path, variant: Variant) -> None:
    space = load(
        tmp_path,
        variant,
        LR
        + "batch_size: {type: choice, values: [25, 50]}\n"
        + "epochs: {type: int, low: 5, high: 50, step: 5}\n"
        + "alpha: {type: float, low: 0, high: 2, step: 0.5}\n"
        + "optimiser: {type: choice, values: [adam, sgd]}\n"
        + "restart_epochs: {type: choice, values: [5]}\n"
        + "momentum: {type: choice, values: [0, 0.9]}\n"
        + "batch_norm: {type: choice, values: [true, false]}\n"
        + "dropout: {type: choice, values: [0, 0.5]}\n",
    )
    assert space.dimensions == {
        "lr": FloatRange(low=1e-4, high=1e-2, log=True),
        "batch_size": Choice(values=(25, 50)),
        "epochs": IntRange(low=5, high=50, step=5),
        "alpha": FloatRange(low=0.0, high=2.0, step=0.5),
        "optimiser": Choice(values=("adam", "sgd")),
        "restart_epochs": Choice(values=(5,)),
        "momentum": Choice(values=(0.0, 0.9)),
        "batch_norm": Choice(values=(True, False)),
        "dropout": Choice(values=(0.0, 0.5)),
    }
    assert [type(value) for value in space.dimensions["dropout"].grid] == [float, float]


def test_what_is_not_named_keeps_the_preset(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, LR)
    assert space.preset_parameters == {"lr": variant.preset.lr}
    suggested = space.suggest(optuna.create_study().ask({}))
    assert suggested == variant.preset.replaced({"lr": suggested.lr})


BROKEN = {
    "unknown hyperparameter": ("nodes: {type: int, low: 1, high: 9}", 1, "unknown hyperparameter 'nodes'"),
    "near miss of an option": ("drop_out: {type: float, low: 0, high: 1}", 1, "did you mean dropout?"),
    "near miss": ("batchsize: {type: int, low: 1, high: 9}", 1, "did you mean batch_size?"),
    "merge key": ("<<: {lr: 1}", 1, "unknown hyperparameter '<<'"),
    "unknown type": ("lr: {type: flaot, low: 1e-4, high: 1e-2}", 1, "unknown type 'flaot'; did you mean float?"),
    "type is no text": ("lr:\n  type: [float]\n  low: 1e-4\n  high: 1e-2", 2, "unknown type"),
    "no type": ("lr: {low: 1e-4, high: 1e-2}", 1, "must be a mapping with a type (float, int or choice)"),
    "no dimension": ("lr: 1e-3", 1, "must be a mapping with a type (float, int or choice), but got a number"),
    "missing low": ("lr: {type: float, high: 1e-2}", 1, "low is missing"),
    "missing both": ("lr: {type: float}", 1, "high, low is missing"),
    "missing values": ("lr: {type: choice}", 1, "values is missing"),
    "unknown key": ("lr:\n  type: float\n  low: 1e-4\n  hihg: 1e-2", 4, "unknown key 'hihg'; did you mean high?"),
    "low of a choice": ("lr: {type: choice, low: 1, values: [1e-3]}", 1, "unknown key 'low'"),
    "low above high": (LR + "epochs:\n  type: int\n  low: 50\n  high: 10", 4, "low must be at most high"),
    "log from 0": ("alpha: {type: float, low: 0, high: 1, log: true}", 1, "a log range must begin above 0"),
    "log and step": (
        "alpha: {type: float, low: 0.5, high: 1, log: true, step: 0.1}",
        1,
        "log and step exclude each other",
    ),
    "log is text": ("lr: {type: float, low: 1e-4, high: 1e-2, log: yes}", 1, "log must be true or false"),
    "step does not divide": ("epochs: {type: int, low: 10, high: 50, step: 7}", 1, "a whole number of steps of 7"),
    "step of 0": ("alpha: {type: float, low: 0, high: 1, step: 0}", 1, "step must be above 0"),
    "step too long": ("alpha: {type: float, low: 0, high: 1, step: 2}", 1, "step must be at most high - low = 1"),
    "step of a constant": ("alpha: {type: float, low: 1, high: 1, step: -1}", 1, "step must be above 0, but got -1"),
    "constant out of range": ("lr: {type: float, low: 0, high: 0}", 1, "lr must be"),
    "step too fine": ("alpha: {type: float, low: 0, high: 1, step: 1e-323}", 1, "step"),
    "float for a whole number": ("epochs: {type: float, low: 10, high: 50}", 1, "takes whole numbers"),
    "int for a real number": ("alpha: {type: int, low: 0, high: 5}", 1, "takes real numbers"),
    "fraction for a whole number": ("epochs: {type: int, low: 1.5, high: 50}", 1, "must be a whole number"),
    "bool as number": ("alpha: {type: float, low: false, high: true}", 1, "must be a finite number, but got False"),
    "text as number": ("alpha: {type: float, low: none, high: 1}", 1, "must be a finite number, but got 'none' (text)"),
    "list as number": ("alpha: {type: float, low: [0], high: 1}", 1, "must be a finite number"),
    "nothing as number": ("alpha: {type: float, low: , high: 1}", 1, "must be a finite number"),
    "nan": ("alpha: {type: float, low: .nan, high: 1}", 1, "must be a finite number"),
    "inf": ("alpha: {type: float, low: 0, high: .inf}", 1, "must be a finite number"),
    "overflow": ("alpha: {type: float, low: 0, high: 1e999}", 1, "must be a finite number, but got inf"),
    "empty choice": ("batch_size: {type: choice, values: []}", 1, "values must be a list of at least one value"),
    "choice of one value": ("batch_size: {type: choice, values: 25}", 1, "values must be a list"),
    "duplicate choice": ("lr: {type: choice, values: [1e-3, 0.001]}", 1, "values must differ from one another"),
    "text in a choice": ("batch_size:\n  type: choice\n  values:\n  - 25\n  - many", 5, "must be a finite number"),
    "preset outside a range": ("lr: {type: float, low: 1e-5, high: 1e-4}", 1, "lr must admit 0.001, the preset of"),
    "preset off the grid": ("epochs: {type: int, low: 10, high: 50, step: 20}", 1, "epochs must admit 25"),
    "preset not among": ("batch_size: {type: choice, values: [10, 20]}", 1, "batch_size must admit 25"),
    "lr of 0": ("lr: {type: float, low: 0, high: 1e-2}", 1, "lr must be"),
    "lr too high": ("lr: {type: float, low: 1e-4, high: 1e3}", 1, "lr must be"),
    "epochs of 0": ("epochs: {type: int, low: 0, high: 50}", 1, "epochs must be"),
    "negative alpha": ("alpha: {type: choice, values: [-1.0, 1.0]}", 1, "alpha must be"),
    "float for a name": ("schedule: {type: float, low: 0, high: 1}", 1, "takes names; use type: choice"),
    "int for a name": (LR + "optimiser:\n  type: int\n  low: 0\n  high: 1", 3, "takes names; use type: choice"),
    "near miss of a name": ("optimiser: {type: choice, values: [adam, sdg]}", 1, "'sdg'; did you mean sgd?"),
    "unknown name": (
        "schedule:\n  type: choice\n  values:\n  - constant\n  - step",
        5,
        "unknown schedule 'step'; choose",
    ),
    "number for a name": (
        "augmentation: {type: choice, values: [none, 1]}",
        1,
        "must be a name, but got 1 (a whole number)",
    ),
    "bool for a name": ("augmentation: {type: choice, values: [false]}", 1, "must be a name, but got False"),
    "names without a list": ("optimiser: {type: choice, values: adam}", 1, "values must be a list"),
    "a name twice": ("optimiser: {type: choice, values: [adam, sgd, adam]}", 1, "values must differ from one another"),
    "preset not among names": (
        "optimiser: {type: choice, values: [sgd, rmsprop]}",
        1,
        "optimiser must admit adam, the preset of",
    ),
    "float for a switch": ("batch_norm: {type: float, low: 0, high: 1}", 1, "takes true or false; use type: choice"),
    "int for a switch": ("batch_norm: {type: int, low: 0, high: 1}", 1, "takes true or false; use type: choice"),
    "number for a switch": (
        "batch_norm: {type: choice, values: [false, 1]}",
        1,
        "must be true or false, but got 1 (a whole number)",
    ),
    "text for a switch": (
        LR + "batch_norm:\n  type: choice\n  values: [false,\n    on]",
        5,
        "must be true or false, but got 'on' (text)",
    ),
    "a switch twice": ("batch_norm: {type: choice, values: [false, false]}", 1, "values must differ from one another"),
    "dropout of everything": ("dropout: {type: float, low: 0, high: 1}", 1, "dropout must be at least 0 and at most"),
    "momentum above 1": ("momentum: {type: float, low: 0, high: 1.5}", 1, "momentum must be at least 0 and at most 1"),
    "restarts of 0 epochs": ("restart_epochs: {type: int, low: 0, high: 9}", 1, "restart_epochs must be"),
    "digits of 0": (
        "lr: {type: float, low: 1e-4, high: 1e-2, significant_digits: 0}",
        1,
        "significant_digits must be a whole number from 1",
    ),
    "too many digits": ("lr: {type: float, low: 1e-4, high: 1e-2, significant_digits: 16}", 1, "to 15, but got 16"),
    "too many digits by their older name": (
        "lr: {type: float, low: 1e-4, high: 1e-2, digits: 16}",
        1,
        "digits must be a whole number from 1 to 15, but got 16",
    ),
    "half a digit": ("lr:\n  type: float\n  low: 1e-4\n  high: 1e-2\n  significant_digits: 1.5", 5, "but got 1.5"),
    "digits and a switch": ("lr: {type: float, low: 1e-4, high: 1e-2, significant_digits: true}", 1, "but got True"),
    "digits and step": (
        "alpha: {type: float, low: 0, high: 1, significant_digits: 1, step: 0.5}",
        1,
        "significant_digits and step exclude each other",
    ),
    "digits of whole numbers": (
        "epochs: {type: int, low: 5, high: 50, significant_digits: 1}",
        1,
        "unknown key 'significant_digits'",
    ),
    "near miss of digits": (
        "lr: {type: float, low: 1e-4, high: 1e-2, significant_digit: 3}",
        1,
        "did you mean significant_digits?",
    ),
    "preset outside a rounded range": (
        "lr: {type: float, low: 1e-5, high: 1e-4, significant_digits: 2}",
        1,
        "lr must admit 0.001, the preset of",
    ),
    "default outside a range": (
        "lr:\n  type: float\n  low: 1e-4\n  high: 1e-3\n  default: 1e-2",
        5,
        "the default must be one of its values, but got 0.01",
    ),
    "default with more digits": (
        "lr: {type: float, low: 1e-4, high: 1e-2, significant_digits: 2, default: 1.23e-3}",
        1,
        "the default must be one of its values, but got 0.00123",
    ),
    "default off the grid": ("epochs: {type: int, low: 10, high: 50, step: 20, default: 25}", 1, "but got 25"),
    "default not among": ("optimiser: {type: choice, values: [adam], default: sgd}", 1, "but got sgd"),
    "default of another kind": ("epochs: {type: int, low: 10, high: 50, default: many}", 1, "must be a finite number"),
    "near miss of default": ("epochs: {type: int, low: 10, high: 50, defualt: 25}", 1, "did you mean default?"),
    "when of one below": (
        "momentum: {type: choice, values: [0, 0.9], when: {optimiser: sgd}}\n"
        "optimiser: {type: choice, values: [adam, sgd]}",
        1,
        "momentum: when must name one that is searched above",
    ),
    "when of itself": (
        "momentum: {type: choice, values: [0, 0.9], when: {momentum: 0}}",
        1,
        "when must name one that is searched above",
    ),
    "near miss of when": (
        "optimiser: {type: choice, values: [adam, sgd]}\n"
        "momentum:\n  type: choice\n  values: [0, 0.9]\n  when: {optimizer: sgd}",
        5,
        "did you mean optimiser?",
    ),
    "when of another value": (
        "optimiser: {type: choice, values: [adam, sgd]}\n"
        "momentum: {type: choice, values: [0, 0.9], when: {optimiser: rmsprop}}",
        2,
        "when must name values of optimiser, but it is never rmsprop",
    ),
    "when of an unknown value": (
        "optimiser: {type: choice, values: [adam, sgd]}\n"
        "momentum: {type: choice, values: [0, 0.9], when: {optimiser: [adam, sdg]}}",
        2,
        "'sdg'; did you mean sgd?",
    ),
    "when of two": (
        LR + "epochs: {type: int, low: 10, high: 50}\n"
        "momentum: {type: choice, values: [0, 0.9], when: {lr: 1e-3, epochs: 25}}",
        3,
        "when must name one hyperparameter and its values",
    ),
    "when is text": (LR + "epochs: {type: int, low: 10, high: 50, when: lr}", 2, "but got text"),
    "constraints are text": (LR + "constraints: lr < 1", 2, "constraints must be a list of comparisons, but got text"),
    "no constraints": (LR + "constraints: []", 2, "constraints must be a list of comparisons"),
    "a number for a constraint": (LR + "constraints:\n- lr < 1\n- 5", 4, "a constraint must be text, but got a whole"),
    "a hostile constraint": (LR + "constraints:\n- __import__('os')", 3, "a constraint compares numbers"),
    "near miss in a constraint": (LR + "constraints:\n- lr <= 1\n- batchsize < 9", 4, "did you mean batch_size?"),
    "a name in a constraint": (LR + "constraints: [optimiser == 1]", 2, "'optimiser'"),
    "near miss of constraints": (LR + "constraint: [lr < 1]", 2, "did you mean constraints?"),
    "a preset that breaks a constraint": (
        LR + "constraints:\n- lr <= 5e-4",
        3,
        "the constraints must admit what is tried first, {'lr': 0.001}; give defaults",
    ),
    "constraints alone": ("constraints: [lr < 1]", 1, "a search space must name at least one hyperparameter"),
    "models are text": (LR + "models: mlp_al", 2, "models must be a list of model variants, but got text"),
    "a number for a model": (LR + "models:\n- mlp_al\n- 1", 4, "model variants, but one is a whole number"),
    "no model": (LR + "models: []", 2, "models must be a list of model variants, but got an empty list"),
    "another model": (LR + "models: [mlp, bncnn]", 2, "the file is for mlp, bncnn, but the model is mlp_al"),
    "too many steps of whole numbers": ("weight_decay: {type: float, low: 0, high: 1, step: 1e-6}", 1, "steps at most"),
    "too many steps": (
        "batch_size: {type: choice, values: [25]}\nalpha: {type: float, low: 0, high: 1e6, step: 0.1}",
        2,
        "a range may have 10000 steps at most, but got 1e+07",
    ),
    "too many values": (
        LR + f"batch_size: {{type: choice, values: {list(range(1, 102))}}}",
        2,
        "batch_size: a list may have 100 values at most, but got 101; give a range",
    ),
    "when of too many values": (
        LR + f"epochs: {{type: int, low: 5, high: 50, when: {{lr: {[1e-3] * 101}}}}}",
        2,
        "lr: a list may have 100 values at most, but got 101",
    ),
    "too many constraints": (LR + f"constraints: {['lr < 1'] * 11}", 2, "may have 10 constraints at most, but got 11"),
    "a list": ("- lr", 1, "a search space must be a mapping of hyperparameters, but got a list"),
    "an empty mapping": ("{}", 1, "a search space must be a mapping of hyperparameters"),
    "a duplicate": (LR + LR, 2, "the key 'lr' stands twice, first on line 1"),
}


@pytest.mark.parametrize(("text", "line", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named_with_file_and_line(
    tmp_path: Path, variant: Variant, text: str, line: int, message: str
) -> None:
    where = re.escape(f"{tmp_path / 'space.yaml'}:{line}: ")
    with pytest.raises(SpaceError, match=f"^{where}.*{re.escape(message)}"):
        load(tmp_path, variant, text)


CONSTANTS = """
optimiser: {type: choice, values: [sgd]}
lr: {type: float, low: 3e-3, high: 3e-3, log: true, significant_digits: 3}
alpha: {type: float, low: 0.5, high: 0.5, step: 0.1}
weight_decay: {type: float, low: 0.00123456, high: 0.00123456, significant_digits: 2}
epochs: {type: int, low: 7, high: 7, step: 5}
batch_size: {type: int, low: 10, high: 10, log: true}
momentum: {type: float, low: 0.9, high: 0.9, when: {optimiser: sgd}}
restart_epochs: {type: int, low: 3, high: 3, when: {optimiser: sgd}}
"""
ALWAYS = {
    "optimiser": "sgd",
    "lr": 3e-3,
    "alpha": 0.5,
    "weight_decay": 0.00123456,
    "epochs": 7,
    "batch_size": 10,
    "momentum": 0.9,
    "restart_epochs": 3,
}


def test_equal_ends_make_a_constant_that_is_tried_first(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, CONSTANTS)
    assert space.preset_parameters == ALWAYS
    assert {name: dimension.grid for name, dimension in space.dimensions.items()} == {
        name: (value,) for name, value in ALWAYS.items()
    }
    assert space.suggest(optuna.create_study().ask({})) == space.preset
    assert load_complete(tmp_path, variant, CONSTANTS).grid(ALWAYS) == [ALWAYS]


def test_a_constant_that_a_condition_rules_out_stays_as_in_the_preset(tmp_path: Path, variant: Variant) -> None:
    text = "optimiser: {type: choice, values: [adam, sgd]}\nmomentum: {type: float, low: 0.5, high: 0.5, WHEN}"
    space = load(tmp_path, variant, text.replace("WHEN", "when: {optimiser: sgd}"))
    assert space.preset == variant.preset
    assert space.grid(space.dimensions) == [{"optimiser": "adam"}, {"optimiser": "sgd", "momentum": 0.5}]


def test_alpha_is_refused_without_an_auxiliary_loss(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"space\.yaml:2: alpha weighs an auxiliary loss, but mlp has none; got alpha"):
        load(tmp_path, get_variant("mlp"), LR + "alpha: {type: float, low: 0, high: 1}\n")


def test_an_unknown_hyperparameter_is_not_likened_to_one_that_the_variant_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        SpaceError, match=r"unknown hyperparameter 'alpah'; choose from: augmentation, batch_norm, batch_size,"
    ):
        load(tmp_path, get_variant("mlp"), "alpah: {type: float, low: 0, high: 1}\n")


NAMES = (
    "optimiser: {type: choice, values: [rmsprop, adam, sgd]}\nschedule: {type: choice, values: [constant, cosine]}\n"
)


def test_names_are_suggested_and_make_a_configuration(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, NAMES)
    assert space.preset_parameters == {"optimiser": "adam", "schedule": "constant"}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    suggested = [space.suggest(study.ask()) for _ in range(40)]
    assert {(hyper.optimiser, hyper.schedule) for hyper in suggested} == {
        (optimiser, schedule) for optimiser in ("adam", "sgd", "rmsprop") for schedule in ("constant", "cosine")
    }
    assert {replace(hyper, optimiser="adam", schedule="constant") for hyper in suggested} == {variant.preset}


OPTIONS = """
nodes: {type: choice, values: [16, 128]}
layers: {type: int, low: 1, high: 3}
batch_norm: {type: choice, values: [false, true]}
dropout: {type: float, low: 0, high: 0.5, step: 0.25}
"""


def test_options_of_the_structure_are_suggested_and_make_a_configuration(tmp_path: Path) -> None:
    variant = get_variant("linear_digits")
    space = load(tmp_path, variant, OPTIONS)
    assert space.preset_parameters == {"nodes": 128, "layers": 2, "batch_norm": False, "dropout": 0.0}
    cells = space.grid(space.dimensions)
    assert len(cells) == 2 * 3 * 2 * 3
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        hyper = space.suggest(study.ask())
        assert dict(hyper.structure) in cells
        assert variant.check(hyper) is hyper
        assert replace(hyper, structure=variant.preset.structure) == variant.preset


def test_an_option_that_another_variant_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"space\.yaml:1: unknown hyperparameter 'kernel'"):
        load(tmp_path, get_variant("linear_digits"), "kernel: {type: choice, values: [3, 5]}\n")


def test_an_even_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"space\.yaml:1: kernel must be odd, but got kernel=4"):
        load(tmp_path, get_variant("lenet_digits"), "kernel: {type: choice, values: [4, 5]}\n")


def test_an_even_kernel_within_a_range_is_refused_and_a_step_over_it_is_not(tmp_path: Path) -> None:
    lenet = get_variant("lenet_digits")
    with pytest.raises(SpaceError, match=r"space.yaml:1: kernel must be odd, but got kernel=4"):
        load(tmp_path, lenet, "kernel: {type: int, low: 3, high: 7}\n")
    space = load(tmp_path, lenet, "kernel: {type: int, low: 3, high: 7, step: 2}\n")
    assert space.dimensions["kernel"].grid == (3, 5, 7)


def test_a_step_need_not_be_a_value_that_the_hyperparameter_may_have(tmp_path: Path) -> None:
    space = load(tmp_path, get_variant("bncnn"), "batch_size: {type: int, low: 24, high: 26, step: 1}\n")
    assert space.dimensions["batch_size"].grid == (24, 25, 26)


def test_a_space_in_which_a_single_sample_could_be_normalised_is_refused(tmp_path: Path) -> None:
    sizes = "batch_size: {type: choice, values: [1, 25]}\n"
    load(tmp_path, get_variant("mlp"), sizes)
    with pytest.raises(SpaceError, match=r"space.yaml:1: batch normalisation needs at least 2 samples a step"):
        load(tmp_path, get_variant("mlp"), sizes + "batch_norm: {type: choice, values: [true, false]}\n")


@pytest.mark.parametrize("name", ["optimiser", "momentum", "weight_decay", "augmentation"])
def test_a_hyperparameter_that_the_variant_does_not_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpaceError, match=rf"space\.yaml:1: unknown hyperparameter '{name}'"):
        load(tmp_path, get_variant("disc_mlp"), f"{name}: {{type: choice, values: [0]}}\n")


def test_combinations_are_made_of_all_values_and_the_last_dimension_changes_fastest() -> None:
    space = Space(
        dimensions={
            "lr": Choice(values=(0.1, 0.2)),
            "epochs": IntRange(low=1, high=3),
            "alpha": FloatRange(low=0, high=1),
        },
        preset=get_variant("mlp_al").preset,
    )
    assert space.grid(["lr", "epochs"]) == [{"lr": lr, "epochs": epochs} for lr in (0.1, 0.2) for epochs in (1, 2, 3)]
    assert space.grid(["epochs"]) == [{"epochs": 1}, {"epochs": 2}, {"epochs": 3}]
    assert space.grid([]) == [{}]


def load_complete(folder: Path, variant: Variant, text: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(variant, path, complete=True)


@pytest.mark.parametrize(
    "dimension",
    ["{type: float, low: 0, high: 1}", "{type: float, low: 0.1, high: 10, log: true}"],
    ids=["a range", "a range of logarithms"],
)
def test_all_combinations_of_a_range_without_a_step_cannot_be_tried(
    tmp_path: Path, variant: Variant, dimension: str
) -> None:
    where = re.escape(f"{tmp_path / 'space.yaml'}:2: ")
    with pytest.raises(SpaceError, match=f"^{where}alpha: all combinations are tried, so give a step, or type: choice"):
        load_complete(tmp_path, variant, f"batch_size: {{type: choice, values: [25]}}\nalpha: {dimension}\n")


def test_a_search_of_all_combinations_need_not_have_the_preset_among_them(tmp_path: Path, variant: Variant) -> None:
    text = "lr: {type: choice, values: [5e-4, 5e-3]}\nbatch_size: {type: int, low: 10, high: 20, step: 10}\n"
    space = load_complete(tmp_path, variant, text)
    assert space.grid(space.dimensions) == [
        {"lr": lr, "batch_size": batch_size} for lr in (5e-4, 5e-3) for batch_size in (10, 20)
    ]
    with pytest.raises(SpaceError, match=r"space\.yaml:1: lr must admit 0\.001, the preset of"):
        load(tmp_path, variant, text)


SCHEDULED = "lr: {type: float, low: 1e-4, high: 1e-2}\nschedule: {type: choice, values: [constant, cosine]}\n"


def test_a_space_that_could_end_a_schedule_above_its_beginning_is_refused(tmp_path: Path, variant: Variant) -> None:
    with pytest.raises(SpaceError, match=r"space\.yaml:3: lr_min must be at least 0 and at most 0\.0001, but got"):
        load(tmp_path, variant, SCHEDULED + "lr_min: {type: float, low: 0, high: 2e-4}\n")


def test_every_combination_of_a_space_is_a_configuration(tmp_path: Path, variant: Variant) -> None:
    text = "lr: {type: choice, values: [1e-3, 1e-4]}\nschedule: {type: choice, values: [constant, cosine]}\n"
    space = load(tmp_path, variant, text + "lr_min: {type: choice, values: [0, 1e-4]}\n")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert len({space.suggest(study.ask()) for _ in range(60)}) == 8


CONDITIONAL = """
lr: {type: float, low: 1e-4, high: 1e-2, log: true, significant_digits: 2, default: 2.5e-3}
optimiser: {type: choice, values: [adam, sgd, rmsprop]}
momentum: {type: float, low: 0.5, high: 0.9, step: 0.2, default: 0.7, when: {optimiser: [sgd]}}
epochs: {type: int, low: 10, high: 50, step: 5}
batch_size: {type: choice, values: [25, 50], when: {epochs: 25}}
models: [mlp, mlp_al]
constraints:
  - epochs * lr <= 0.1
  - lr_min <= lr / 2
"""


def test_all_that_a_space_can_say_is_read(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, CONDITIONAL)
    assert space.dimensions["lr"] == FloatRange(low=1e-4, high=1e-2, log=True, significant_digits=2)
    assert list(space.dimensions) == ["lr", "optimiser", "momentum", "epochs", "batch_size"]
    assert space.conditions == {
        "momentum": Condition("optimiser", ("sgd",)),
        "batch_size": Condition("epochs", (25,)),
    }
    assert [constraint.text for constraint in space.constraints] == ["epochs * lr <= 0.1", "lr_min <= lr / 2"]
    assert space.preset == variant.preset.replaced({"lr": 2.5e-3})  # momentum is not searched there
    assert space.preset_parameters == {"lr": 2.5e-3, "optimiser": "adam", "epochs": 25, "batch_size": 25}
    assert listed_models(tmp_path / "space.yaml") == ["mlp", "mlp_al"]


def test_a_condition_leaves_out_what_it_rules_out(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, CONDITIONAL)
    sgd = space.preset.replaced({"optimiser": "sgd", "momentum": 0.9, "epochs": 30})
    assert space.parameters(sgd) == {"lr": 2.5e-3, "optimiser": "sgd", "momentum": 0.9, "epochs": 30}
    assert space.hyper(space.parameters(sgd)) == sgd
    searched = load(tmp_path, variant, CONDITIONAL.replace("[adam, sgd, rmsprop]", "[adam, sgd], default: sgd"))
    assert searched.preset_parameters == {**space.preset_parameters, "optimiser": "sgd", "momentum": 0.7}
    assert space.parameters(sgd.replaced({"optimiser": "adam"})) == {"lr": 2.5e-3, "optimiser": "adam", "epochs": 30}
    assert list(space.distributions(["optimiser", "momentum"])) == ["optimiser", "momentum"]


def test_constraints_admit_what_fulfils_all_of_them(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, CONDITIONAL)
    assert space.admits({"epochs": 40, "lr": 2.5e-3})
    assert not space.admits({"epochs": 45, "lr": 2.5e-3})
    assert not space.admits({"epochs": 10, "lr": 1e-3, "lr_min": 6e-4})


def test_a_file_is_for_all_models_unless_it_says(tmp_path: Path) -> None:
    load(tmp_path, get_variant("mlp"), LR)
    assert listed_models(tmp_path / "space.yaml") == []


def test_a_model_that_is_not_known_is_refused_with_a_near_miss(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(LR + "models:\n- mlp_al\n- mlp_sw\n")
    with pytest.raises(SpaceError, match=r"space\.yaml:4: unknown model 'mlp_sw'; did you mean mlp_ws"):
        listed_models(path, variants())


def test_what_is_optional_is_left_out_for_a_variant_that_lacks_it(tmp_path: Path, variant: Variant) -> None:
    alpha = "alpha: {type: float, low: 0.5, high: 2, optional: true}\n"
    assert list(load(tmp_path, variant, LR + alpha).dimensions) == ["lr", "alpha"]
    without = load(tmp_path, get_variant("mlp"), LR + alpha)
    assert list(without.dimensions) == ["lr"]
    assert without.digest == load(tmp_path, get_variant("mlp"), LR).digest
    assert (
        load(tmp_path, variant, LR + alpha).digest
        == load(tmp_path, variant, LR + alpha.replace(", optional: true", "")).digest
    )


GRID = """
optimiser: {type: choice, values: [adam, sgd]}
momentum: {type: float, low: 0, high: 1, step: 0.5, when: {optimiser: sgd}}
batch_size: {type: choice, values: [25, 50]}
epochs: {type: int, low: 10, high: 20, step: 10}
"""


def test_combinations_that_differ_in_what_a_condition_rules_out_are_one(tmp_path: Path, variant: Variant) -> None:
    space = load_complete(tmp_path, variant, GRID + "constraints: [batch_size * epochs <= 500]\n")
    cells = space.grid(space.dimensions)
    assert cells == [
        {"optimiser": optimiser, **momentum, "batch_size": batch_size, "epochs": epochs}
        for optimiser, momentum in [("adam", {}), *(("sgd", {"momentum": each}) for each in (0.0, 0.5, 1.0))]
        for batch_size, epochs in [(25, 10), (25, 20), (50, 10)]
    ]
    assert len({variant.preset.replaced(cell) for cell in cells}) == len(cells) == 12


def test_a_complete_search_of_too_many_combinations_is_refused(tmp_path: Path, variant: Variant) -> None:
    many = "alpha: {type: float, low: 0, high: 10, step: 0.1}\nepochs: {type: int, low: 1, high: 50}\n"
    with pytest.raises(SpaceError, match=r"a space may have 5000 combinations at most, but got 5050"):
        load_complete(tmp_path, variant, many)
    assert load(tmp_path, variant, many).dimensions.keys() == {"alpha", "epochs"}


def test_constraints_that_leave_no_combination_are_refused(tmp_path: Path, variant: Variant) -> None:
    with pytest.raises(SpaceError, match=r"space\.yaml:6: the constraints leave no combination"):
        load_complete(tmp_path, variant, GRID + "constraints: [batch_size * epochs <= 100]\n")


def test_a_constraint_may_rule_out_a_schedule_that_ends_above_its_beginning(tmp_path: Path, variant: Variant) -> None:
    text = SCHEDULED + "lr_min: {type: float, low: 0, high: 2e-4}\n"
    space = load(tmp_path, variant, text + "constraints: [lr_min <= lr]\n")
    assert not space.admits({"lr": 1e-4, "schedule": "cosine", "lr_min": 2e-4})
    assert space.admits({"lr": 2e-4, "schedule": "cosine", "lr_min": 2e-4})


WHOLE = LR + "epochs: {type: int, low: 5, high: 50, step: 5}\n"


@pytest.mark.parametrize(
    "text",
    [
        LR,
        WHOLE.replace("1e-4", "2e-4"),
        WHOLE.replace("1e-2", "2e-2"),
        WHOLE.replace(", log: true", ""),
        WHOLE.replace("step: 5", "step: 1"),
        WHOLE.replace("low: 5", "low: 10"),
        WHOLE.replace("log: true", "log: true, significant_digits: 3"),
        WHOLE.replace("step: 5", "step: 5, default: 30"),
        WHOLE.replace("step: 5", "step: 5, when: {lr: 1e-3}"),
        WHOLE + "constraints: [epochs <= 40]\n",
        WHOLE + "batch_norm: {type: choice, values: [false]}\n",
        WHOLE + "batch_norm: {type: choice, values: [false, true]}\n",
        WHOLE + "batch_size: {type: choice, values: [25]}\n",
        WHOLE + "batch_size: {type: choice, values: [25, 50]}\n",
        WHOLE + "optimiser: {type: choice, values: [adam]}\n",
        WHOLE + "optimiser: {type: choice, values: [adam, sgd]}\n",
        WHOLE + "optimiser: {type: choice, values: [sgd, adam]}\n",
    ],
)
def test_the_digest_changes_with_every_dimension(tmp_path: Path, variant: Variant, text: str) -> None:
    assert load(tmp_path, variant, text).digest != load(tmp_path, variant, WHOLE).digest


def test_the_digest_changes_with_a_fixed_value_alone(tmp_path: Path) -> None:
    mlp, mlp_al = (load(tmp_path, get_variant(name), WHOLE) for name in ("mlp", "mlp_al"))
    assert mlp.dimensions == mlp_al.dimensions
    assert mlp.digest != mlp_al.digest  # alpha is 0 and 1
    normalised = replace(mlp, preset=mlp.preset.replaced({"batch_norm": True}))
    assert mlp.digest != normalised.digest


def test_the_older_name_of_significant_digits_means_the_same(tmp_path: Path, variant: Variant) -> None:
    older, now = (
        load(tmp_path, variant, LR.replace("true", f"true, {name}: 2")) for name in ("digits", "significant_digits")
    )
    assert older.dimensions == now.dimensions == {"lr": FloatRange(low=1e-4, high=1e-2, log=True, significant_digits=2)}
    assert older.digest == now.digest


def test_the_digest_ignores_comments_and_order(tmp_path: Path, variant: Variant) -> None:
    reordered = "# a comment\nepochs: {step: 5, high: 50, low: 5, type: int}\n" + LR.replace("1e-4", "0.0001")
    assert load(tmp_path, variant, reordered).digest == load(tmp_path, variant, WHOLE).digest

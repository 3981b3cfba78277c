from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SpaceError
from pipeline.models.registry import get_variant, variants
from pipeline.models.variant import HYPERPARAMETERS, Variant
from pipeline.tuning.space import SPACES, Choice, Dimension, FloatRange, IntRange, Space, load_space

LR = "lr: {type: float, low: 1e-4, high: 1e-2, log: true}\n"


@pytest.fixture(scope="module")
def variant() -> Variant:
    return get_variant("mlp_al")


def load(folder: Path, variant: Variant, text: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text)
    return load_space(variant, path)


@pytest.mark.parametrize("name", variants())
def test_every_variant_has_a_space_that_fits_it(name: str) -> None:
    variant = get_variant(name)
    space = load_space(variant)
    assert space.preset == variant.preset
    assert all(value in space.dimensions[key] for key, value in space.preset_parameters.items())
    assert ("alpha" in space.dimensions) == variant.auxiliary_loss
    assert set(space.dimensions) <= set(HYPERPARAMETERS)


def test_every_space_file_belongs_to_a_variant() -> None:
    assert {path.stem for path in SPACES.glob("*.yaml")} == set(variants())
    assert {path.suffix for path in SPACES.iterdir()} == {".yaml"}


def test_all_kinds_of_dimension_are_read(tmp_path: Path, variant: Variant) -> None:
    space = load(
        tmp_path,
        variant,
        LR
        + "batch_size: {type: choice, values: [25, 50]}\n"
        + "epochs: {type: int, low: 5, high: 50, step: 5}\n"
        + "alpha: {type: float, low: 0, high: 2, step: 0.5}\n",
    )
    assert space.dimensions == {
        "lr": FloatRange(low=1e-4, high=1e-2, log=True),
        "batch_size": Choice(values=(25, 50)),
        "epochs": IntRange(low=5, high=50, step=5),
        "alpha": FloatRange(low=0.0, high=2.0, step=0.5),
    }


def test_what_is_not_named_keeps_the_preset(tmp_path: Path, variant: Variant) -> None:
    space = load(tmp_path, variant, LR)
    assert space.preset_parameters == {"lr": variant.preset.lr}
    suggested = space.suggest(optuna.create_study().ask({}))
    assert suggested == variant.preset.having({"lr": suggested.lr})


BROKEN = {
    "unknown hyperparameter": ("momentum: {type: float, low: 0, high: 1}", 1, "unknown hyperparameter 'momentum'"),
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
    "low equals high": ("lr: {type: float, low: 1e-3, high: 1e-3}", 1, "low must be less than high"),
    "low above high": (LR + "epochs:\n  type: int\n  low: 50\n  high: 10", 4, "low must be less than high"),
    "log from 0": ("alpha: {type: float, low: 0, high: 1, log: true}", 1, "a log range must begin above 0"),
    "log and step": (
        "alpha: {type: float, low: 0.5, high: 1, log: true, step: 0.1}",
        1,
        "log and step exclude each other",
    ),
    "log is text": ("lr: {type: float, low: 1e-4, high: 1e-2, log: yes}", 1, "log must be true or false"),
    "step does not divide": ("epochs: {type: int, low: 10, high: 50, step: 7}", 1, "a whole number of steps of 7"),
    "step of 0": ("alpha: {type: float, low: 0, high: 1, step: 0}", 1, "step must be above 0"),
    "step too long": ("alpha: {type: float, low: 0, high: 1, step: 2}", 1, "step must be above 0 and at most"),
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
    "empty choice": ("batch_size: {type: choice, values: []}", 1, "values must be a list of at least one number"),
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


def test_alpha_is_refused_without_an_auxiliary_loss(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"space\.yaml:2: alpha weighs an auxiliary loss, but mlp has none; remove it"):
        load(tmp_path, get_variant("mlp"), LR + "alpha: {type: float, low: 0, high: 1}\n")


def test_an_unknown_hyperparameter_is_not_likened_to_one_that_the_variant_lacks(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"unknown hyperparameter 'alpah'; choose from: lr, batch_size, epochs$"):
        load(tmp_path, get_variant("mlp"), "alpah: {type: float, low: 0, high: 1}\n")


def drawn(dimension: Dimension, seed: int) -> list[float]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [dimension.suggest(study.ask(), "x") for _ in range(5)]


def between(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


@given(low=between(1e-6, 1.0), width=between(1e-3, 10.0), log=st.booleans(), seed=st.integers(0, 99))
def test_suggested_real_numbers_lie_in_the_range(low: float, width: float, log: bool, seed: int) -> None:
    dimension = FloatRange(low=low, high=low + width, log=log)
    assert all(value in dimension for value in drawn(dimension, seed))


@given(low=st.integers(0, 30), step=st.sampled_from([0.1, 0.25, 0.3, 1.0]), steps=st.integers(1, 9))
def test_suggested_real_numbers_lie_on_the_grid(low: int, step: float, steps: int) -> None:
    dimension = FloatRange(low=low / 10, high=round(low / 10 + step * steps, 6), step=step)
    values = drawn(dimension, steps)
    assert all(value in dimension for value in values)
    assert all(dimension.low <= value <= dimension.high for value in values)


@given(low=st.integers(1, 30), step=st.integers(1, 9), steps=st.integers(1, 9), log=st.booleans())
def test_suggested_whole_numbers_lie_in_the_range(low: int, step: int, steps: int, log: bool) -> None:
    dimension = IntRange(low=low, high=low + step * steps, log=log, step=1 if log else step)
    values = drawn(dimension, steps)
    assert all(value in dimension and isinstance(value, int) for value in values)


@given(values=st.lists(st.integers(1, 1000), min_size=1, max_size=5, unique=True), seed=st.integers(0, 99))
def test_suggested_choices_are_among_the_values(values: list[int], seed: int) -> None:
    assert set(drawn(Choice(values=tuple(values)), seed)) <= set(values)


def test_neighbours_of_a_dimension_are_not_in_it() -> None:
    assert 0.3 in FloatRange(low=0.1, high=0.5, step=0.1)
    assert 0.35 not in FloatRange(low=0.1, high=0.5, step=0.1)
    assert 0.6 not in FloatRange(low=0.1, high=0.5)
    assert 12 not in IntRange(low=10, high=20, step=5)
    assert 25 not in IntRange(low=10, high=20, step=5)
    assert 3 not in Choice(values=(1, 2))


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
        WHOLE + "batch_size: {type: choice, values: [25]}\n",
        WHOLE + "batch_size: {type: choice, values: [25, 50]}\n",
    ],
)
def test_the_digest_changes_with_every_dimension(tmp_path: Path, variant: Variant, text: str) -> None:
    assert load(tmp_path, variant, text).digest != load(tmp_path, variant, WHOLE).digest


def test_the_digest_changes_with_a_fixed_value_alone(tmp_path: Path) -> None:
    mlp, mlp_al = (load(tmp_path, get_variant(name), WHOLE) for name in ("mlp", "mlp_al"))
    assert mlp.dimensions == mlp_al.dimensions
    assert mlp.digest != mlp_al.digest  # alpha is 0 and 1


def test_the_digest_ignores_comments_and_order(tmp_path: Path, variant: Variant) -> None:
    reordered = "# a comment\nepochs: {step: 5, high: 50, low: 5, type: int}\n" + LR.replace("1e-4", "0.0001")
    assert load(tmp_path, variant, reordered).digest == load(tmp_path, variant, WHOLE).digest

"""Constructor arguments that are read wrongly if one looks at them once only: words, other names of a file, numbers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pipeline.base.errors import InputError
from pipeline.base.imports import load_object
from pipeline.models.own.definition import Definition, Facts, definitions_of, find_definition
from pipeline.models.own.portable import Portable
from pipeline.tasks.subjects import find_model, kept, variant_named

FILE = """
from __future__ import annotations

import enum
from functools import partial
from typing import Literal

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

__version__ = "1"


class Kind(enum.Enum):
    none = 0
    SMALL = 1


class Net(nn.Module):
    def __init__(
        self,
        num_classes: int,
        norm: Literal["none", "layer"] = "none",
        act: str = "none",
        kind: Kind = Kind.none,
        other: Kind | None = Kind.SMALL,
        depth: int | None = 2,
        rate: float = 1,
        limit: float = float("inf"),
        either: Literal[1, 2] = 1,
        alpha: float = 0.5,
    ) -> None:
        super().__init__()
        self.given = [norm, act, kind, depth, rate, alpha]
        self.last = nn.Linear(1, num_classes)


Narrow = partial(Net, depth=1)
scaled = make_pipeline(SimpleImputer(), LogisticRegression(C=2))


class Outer:
    class Inner(nn.Module):
        def __init__(self, width: int = 3) -> None:
            super().__init__()
"""
FACTS = Facts(input_shape=(1,), in_features=1, in_channels=1, out_features=2, num_classes=2)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models.py"
    path.write_text(FILE)
    return path


def options_of(definition: Definition) -> dict[str, tuple[str, object, tuple[str, ...], bool]]:
    return {
        option.name: (option.kind.__name__, option.default, option.choices, option.optional)
        for option in definition.options()
    }


def test_none_is_nothing_unless_it_is_a_name(models: Path) -> None:
    found = find_definition("models.py:Net")
    names = {name: (choices, optional) for name, (_, _, choices, optional) in options_of(found).items()}
    assert names == {
        "norm": (("none", "layer"), False),
        "act": ((), False),
        "kind": (("none", "SMALL"), False),
        "other": (("none", "SMALL"), False),
        "depth": ((), True),
        "rate": ((), False),
        "model__alpha": ((), False),
    }
    make = found.constructor(FACTS)
    for network in (make(), make(**dict(found.defaults()))):
        norm, act, kind, *numbers = network.given
        assert (norm, act, kind.name, numbers) == ("none", "none", "none", [2, 1, 0.5])
    assert make(depth="none", model__alpha=0.25).given[3:] == [None, 1, 0.25]


def test_a_class_is_what_it_was_after_a_network_of_it_was_made(models: Path) -> None:
    found = find_definition("models.py:Net")
    before = options_of(found)
    assert before["rate"] == ("float", 1.0, (), False)
    portable = Portable.of(found.constructor(FACTS))
    portable()
    pickle.loads(pickle.dumps(portable))()
    assert options_of(find_definition("models.py:Net")) == before


def test_an_estimator_of_a_file_has_the_parameters_of_its_parts(models: Path) -> None:
    found = find_definition("models.py:scaled")
    options = options_of(found)
    assert (found.name, found.is_estimator) == ("scaled", True)
    assert options["logisticregression__C"][:2] == ("int", 2)
    assert "simpleimputer__missing_values" not in options  # NaN cannot be compared, nor written
    assert {"verbose", "logisticregression__random_state"}.isdisjoint(options)
    made = found.constructor(FACTS)(logisticregression__C=7)
    assert made.get_params()["logisticregression__C"] == 7
    _, given = load_object("models.py:scaled", "model")
    assert given.get_params()["logisticregression__C"] == 2  # type: ignore[attr-defined]


def test_a_name_may_have_parts(models: Path) -> None:
    found = find_definition("models.py:Outer.Inner")
    assert (found.name, list(options_of(found))) == ("Outer_Inner", ["width"])


@pytest.mark.parametrize(
    ("name", "part", "other"),
    [
        ("Net", "super().__init__()\n        self.given", "super().__init__()\n        self.gave"),
        ("Narrow", "depth=1", "depth=3"),
        ("Narrow", "rate: float = 1", "rate: float = 2"),
        ("scaled", "C=2", "C=3"),
        ("scaled", "SimpleImputer(), ", ""),
        ("Outer.Inner", "width: int = 3", "width: int = 4"),
    ],
)
def test_the_digest_is_that_of_what_is_named(models: Path, name: str, part: str, other: str) -> None:
    reference = f"models.py:{name}"
    before = find_definition(reference).code
    assert part in FILE
    models.write_text(FILE.replace("1\n", "1  # one\n").replace("    ) -> None", "\n    ) -> None"))
    assert find_definition(reference).code == before
    models.write_text(FILE.replace(part, other))
    assert find_definition(reference).code != before
    if name != "Outer.Inner":
        models.write_text(FILE.replace("width: int = 3", "width: int = 4"))
        assert find_definition(reference).code == before


def test_the_digest_of_an_estimator_in_memory_is_that_of_its_parts() -> None:
    scalers = (StandardScaler, MinMaxScaler)
    made = [make_pipeline(scaler(), Ridge(alpha=alpha)) for scaler in scalers for alpha in (1, 2)]
    codes = [definitions_of(each)[0].code for each in made]
    assert len(set(codes)) == 4
    assert definitions_of(make_pipeline(StandardScaler(), Ridge(alpha=1)))[0].code == codes[0]


def test_a_file_that_has_changed_is_read_again_but_not_within_a_command(models: Path) -> None:
    assert options_of(find_definition("models.py:Net"))["depth"][1] == 2
    changed = FILE.replace("depth: int | None = 2", "depth: int | None = 3")  # of the same length, in the same second
    models.write_text(changed)
    found = find_definition("models.py:Net")
    assert options_of(found)["depth"][1] == 3
    assert found.target is find_definition("models.py:Net").target
    with kept():
        once = find_model("models.py:Net")
        models.write_text(FILE)
        assert find_model("models.py:Net") is once
    assert not (models.parent / "__pycache__").exists()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("math:sqrt", "x of sqrt has none; give it one"),
        ("builtins:dict", "read from a signature, but dict has none; give a function of your own"),
        ("models.py", r"given as file\.py:Name or package\.module:Name, but got 'models\.py'"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(models: Path, reference: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        variant_named(reference)

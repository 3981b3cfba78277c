"""From what a person names to a definition: its options, its factors, and what tells its code apart."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.models.own.definition import Definition, Facts, definitions_of, find_definition
from pipeline.models.own.factors import factors
from pipeline.models.own.portable import Portable
from pipeline.models.own.recorded import code_of, from_text, to_text
from pipeline.tasks.adoption import without_data

FILE = '''
import enum
from typing import Literal

from torch import nn

import variantlab as vl

SCALE = 2


class Kind(enum.Enum):
    SMALL = 1
    LARGE = 2


class Net(nn.Module):
    """A network.

    With more to say.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        width: int = 4,
        slope: float = 1,
        bias: bool = True,
        act: str = "relu",
        norm: Literal["none", "layer"] = "none",
        kind: Kind = Kind.SMALL,
        depth: int | None = None,
        lr: float = 0.5,
        layers: tuple[int, ...] = (1, 2),
    ) -> None:
        super().__init__()
        self.width, self.kind, self.depth, self.rate = width, kind, depth, lr
        self.last = nn.Linear(in_features, SCALE * num_classes, bias)


def factory(in_features: int, num_classes: int, width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(in_features, width), nn.Linear(width, num_classes))


@vl.factors(pooling=["max", "mean"], ws=[False, True])
class Family(nn.Module):
    def __init__(self, num_classes: int, pooling: str = "max", ws: bool = False, width: int = 2) -> None:
        super().__init__()
        self.pooling, self.ws = pooling, ws
        self.last = nn.Linear(2, num_classes)


def unrelated() -> int:
    return 1
'''
FACTS = Facts(input_shape=(5,), in_features=5, in_channels=5, out_features=3, num_classes=3)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models.py"
    path.write_text(FILE)
    return path


def test_constructor_arguments_with_simple_defaults_are_options(models: Path) -> None:
    found = find_definition("models.py:Net")
    assert (found.name, found.family, found.source, found.folder) == ("Net", "Net", "A network.", models.parent)
    kinds = {option.name: (option.kind.__name__, option.default, option.choices) for option in found.options()}
    assert kinds == {
        "width": ("int", 4, ()),
        "slope": ("float", 1.0, ()),
        "bias": ("bool", True, ()),
        "act": ("str", "relu", ()),
        "norm": ("str", "none", ("none", "layer")),
        "kind": ("str", "SMALL", ("SMALL", "LARGE")),
        "depth": ("int", "none", ()),
        "model__lr": ("float", 0.5, ()),
    }
    network = found.constructor(FACTS)(kind="LARGE", depth="none", model__lr=0.25, width=7)
    assert (network.kind.name, network.depth, network.rate, network.width) == ("LARGE", None, 0.25, 7)
    assert network.last.out_features == 6


def test_functions_and_packages_give_models_too(models: Path) -> None:
    made = find_definition("models.py:factory").constructor(FACTS)(width=9)
    assert made[0].out_features == 9
    assert find_definition("torch.nn:Linear").reference == "torch.nn:Linear"
    forest = find_definition("sklearn.ensemble:RandomForestClassifier")
    assert forest.is_estimator
    named = {option.name for option in forest.options()}
    assert "n_estimators" in named
    assert named.isdisjoint({"n_jobs", "random_state", "verbose", "warm_start"})


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("models.py:Nett", "unknown model in models.py 'Nett'; did you mean Net"),
        ("models.py:Family_maxi", "did you mean Family_max"),
        ("models.py:SCALE", "a model is a class, a function that makes one, or an estimator"),
    ],
)
def test_what_is_no_model_is_refused(models: Path, reference: str, said: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=said):
        find_definition(reference)


def test_a_family_has_a_variant_for_each_combination_of_levels(models: Path) -> None:
    found = {name: find_definition(f"models.py:Family{name}") for name in ("_max", "_max_ws", "_mean", "_mean_ws")}
    assert [each.name for each in found.values()] == ["Family_max", "Family_max_ws", "Family_mean", "Family_mean_ws"]
    assert {each.family for each in found.values()} == {"Family"}
    assert found["_mean_ws"].factors == {"pooling": "mean", "ws": True}
    made = found["_mean_ws"].constructor(FACTS)()
    assert (made.pooling, made.ws) == ("mean", True)
    assert [option.name for option in found["_max"].options()] == ["width"]
    with pytest.raises(InputError, match="Family_max"):
        find_definition("models.py:Family")


def test_marks_say_what_a_class_is_in_its_family() -> None:
    @factors(family="size", depth=1)
    def shallow(num_classes: int) -> torch.nn.Module:
        return torch.nn.Linear(1, num_classes)

    [found] = definitions_of(shallow)
    assert (found.name, found.family, found.factors) == ("shallow", "size", {"depth": 1})
    with pytest.raises(InputError, match="two levels at least"):
        factors(ws=[True])


def digest(name: str = "Net") -> str:
    return find_definition(f"models.py:{name}").code


def test_the_digest_changes_with_what_the_code_depends_on_alone(models: Path) -> None:
    before = digest()
    models.write_text(f"# A comment.\n{FILE}".replace("return 1", "return 2").replace("SCALE = 2", "SCALE  =  2"))
    assert digest() == before
    models.write_text(FILE.replace("SCALE = 2", "SCALE = 3"))
    assert digest() != before
    models.write_text(FILE.replace("width: int = 4", "width: int = 5"))
    assert digest() != before


def test_a_recorded_variant_says_what_a_comparison_needs(models: Path) -> None:
    definition: Definition = find_definition("models.py:Family_mean_ws")
    variant = without_data(definition)
    text = to_text(variant)
    read = from_text(text)
    for name in ("name", "family", "factors", "metrics", "preset", "reference", "code", "absent"):
        if name != "metrics":
            assert getattr(read, name) == getattr(variant, name), name
    assert [(each.name, each.unit) for each in read.metrics] == [(each.name, each.unit) for each in variant.metrics]
    assert code_of({"variant": text}) == definition.code
    assert code_of({}) == ""


def test_a_class_of_a_file_reaches_another_process(models: Path, tmp_path: Path) -> None:
    portable = Portable.of(find_definition("models.py:Net").constructor(FACTS))
    (tmp_path / "sent.pkl").write_bytes(pickle.dumps(portable))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = "import pickle; print(pickle.loads(open('../sent.pkl', 'rb').read())(width=8).width)"
    done = subprocess.run([sys.executable, "-c", script], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.stdout == "8\n", done.stderr

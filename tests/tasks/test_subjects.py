"""What a person names, and what joins it: models, data and tasks of their own beside those that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.seeds import numpy_generator
from pipeline.data.arrays import arrays
from pipeline.data.config import DataConfig
from pipeline.models.own.definition import definitions_of
from pipeline.models.variant import Variant
from pipeline.tasks.subjects import (
    Subject,
    find_dataset,
    find_model,
    find_task,
    installed_models,
    open_subject,
    variant_named,
)
from pipeline.training.estimators import EstimatorTraining

OWN_TASK = """
from dataclasses import replace

from pipeline.tasks.classification import TASK as CLASSES

TASK = replace(CLASSES, name="mine", datasets={}, variants=())
"""
OWN_MODEL = """
from torch import nn


def net(in_features: int, num_classes: int, width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes))
"""


class Flat(nn.Module):
    """Takes samples of any shape."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, out_features))

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Words(nn.Module):
    """Takes indices."""

    def __init__(self, num_embeddings: int, num_classes: int) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(num_embeddings, 4), nn.Linear(4, num_classes)

    def forward(self, x: Any) -> Any:
        return self.last(self.words(x).mean(1))


def subject(folder: Path, x: Any, y: Any, model: Any = Flat, **config: Any) -> Subject:
    [definition] = definitions_of(model)
    data = DataConfig(dataset="given", cache_dir=folder, given=arrays(x, y, name="given"), **config)
    return open_subject(definition, data)


@pytest.mark.parametrize(
    ("name", "task"),
    [("classification", "classification"), ("pairs", "digit_pairs"), ("digits", "digit_pairs"), ("points", "disc")],
)
def test_a_task_has_its_name_and_that_of_what_is_learned(name: str, task: str) -> None:
    assert find_task(name).name == task


def test_a_task_may_be_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN_TASK)
    assert find_task("mine.py:TASK").name == "mine"
    with pytest.raises(InputError, match=r"names a variantlab\.Task, but mine\.py:replace is"):
        find_task("mine.py:replace")
    with pytest.raises(UnknownNameError, match="did you mean classification"):
        find_task("clasification")
    with pytest.raises(UnknownNameError, match="unknown dataset 'parqet'; did you mean parquet"):
        find_dataset(DataConfig(dataset="parqet", cache_dir=tmp_path))


def test_installed_packages_bring_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brought.py").write_text(OWN_MODEL)
    facts = tmp_path / "brought-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[variantlab.models]\nslim = brought:net\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_models() == {"slim": "brought:net"}
    found = find_model("slim")
    assert not isinstance(found, Variant)
    assert (found.name, found.reference) == ("net", "brought:net")
    assert variant_named("slim").kind_of("width") is int
    with pytest.raises(UnknownNameError, match="did you mean slim"):
        find_model("slimm")


def test_the_target_says_what_is_learned_and_a_metric_is_chosen(tmp_path: Path) -> None:
    x_ND = numpy_generator(0, "subjects").normal(size=(40, 2, 3))
    classes = subject(tmp_path, x_ND, x_ND[:, 0, 0] > 0, metric="log_loss")
    assert (classes.task.name, classes.variant.metric.name) == ("classification", "log_loss")
    assert "true or false" in classes.guessed
    assert [each.name for each in classes.variant.metrics] == ["log_loss", "error", "balanced_error"]
    assert classes.variant.parameters == 6 * 2 + 2
    values = subject(tmp_path, x_ND, x_ND[:, 0, 0])
    assert (values.task.name, values.variant.parameters) == ("regression", 7)
    told = subject(tmp_path, x_ND, x_ND[:, 0, 0], task="regression")
    assert told.guessed == ""
    with pytest.raises(InputError, match=r"better the less it is \(rmse, mae\), but got --metric r2"):
        subject(tmp_path, x_ND, x_ND[:, 0, 0], metric="r2")


def test_inputs_of_every_kind_reach_a_model_as_it_needs_them(tmp_path: Path) -> None:
    draws = numpy_generator(0, "kinds")
    y = np.arange(40) % 2
    scalings = {
        "features": subject(tmp_path, draws.normal(size=(40, 3)), y).variant,
        "images": subject(tmp_path, draws.integers(256, size=(40, 1, 4, 4)).astype(np.uint8), y).variant,
        "indices": subject(tmp_path, draws.integers(7, size=(40, 5)), y, Words).variant,
        "an estimator": subject(tmp_path, draws.normal(size=(40, 3)), y, RandomForestClassifier).variant,
    }
    assert {name: (tuple(each.transforms.scalings), each.integer_inputs) for name, each in scalings.items()} == {
        "features": (("standardised", "raw"), False),
        "images": (("standardised", "raw"), False),
        "indices": (("raw",), True),
        "an estimator": (("raw",), False),
    }
    forest = scalings["an estimator"]
    assert isinstance(forest.make_step, EstimatorTraining)
    assert forest.parameters == 0
    assert "lr" not in forest.hyperparameters


def test_pairs_can_be_made_of_any_images_in_classes(tmp_path: Path) -> None:
    images = numpy_generator(0, "images").integers(256, size=(60, 1, 6, 6)).astype(np.uint8)
    found = subject(tmp_path, images, np.arange(60) % 3, task="pairs")
    assert (found.task.name, found.variant.task) == ("digit_pairs", "pairs")
    assert found.variant.input_shape[0] == 2
    assert found.splits.train.items_per_sample == 2

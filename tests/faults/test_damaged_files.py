"""A damaged file is never used: a cached pool is built again, and a saved model is refused or answers as before."""

from __future__ import annotations

import logging
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.base.seeds import numpy_generator
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.models.exported import Exported
from pipeline.models.initial import build_network
from pipeline.tasks.registry import get_variant
from pipeline.tasks.subjects import load_splits
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import ModelToLog, RunStart
from tests.faults.scale import scaled
from tests.idx_files import write_idx_folder
from tests.tracking.conftest import use

POOLS, MODELS = scaled(100, 10), scaled(200, 30)
"""How many damaged files there are of either kind."""
POINTS = numpy_generator(0, "points").random((7, 2), dtype=np.float32)


@dataclass(frozen=True)
class Cached:
    """Splits, their file, and what it held when it was written."""

    config: DataConfig
    splits: Splits
    path: Path
    content: bytes


@dataclass(frozen=True)
class Saved:
    """The folder of a model, the files in it that decide its answers, and its answers to POINTS."""

    folder: Path
    files: tuple[Path, ...]
    answers: NDArray[np.float32]


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Cached:
    folder = tmp_path_factory.mktemp("splits")
    data_dir = write_idx_folder(folder / "idx", compress=False)
    config = DataConfig(dataset="idx", data_dir=str(data_dir), cache_dir=folder / "cache")
    splits = load_splits(config)
    [path] = config.cache_dir.iterdir()
    return Cached(config, splits, path, path.read_bytes())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    store, folder = tmp_path_factory.mktemp("mlflow"), tmp_path_factory.mktemp("model")
    variant = get_variant("disc_mlp")
    network, mean, std = build_network(variant, 0), torch.tensor(0.5), torch.tensor(0.25)
    exported = Exported(network, variant.objective, mean=mean, std=std).eval()
    with pytest.MonkeyPatch.context() as patch:
        use(patch, f"sqlite:///{store}/mlflow.db", store)
        tracker = MlflowTracker()
        run = tracker.start(RunStart(name="e", role="evaluate"))
        example = torch.from_numpy(POINTS[:3])
        run.model(ModelToLog(name="m", network=exported, example=example, description="", metrics=[]))
        outputs: Any = tracker.client.get_run(run.id).outputs
        [output] = outputs.model_outputs
        mlflow.artifacts.download_artifacts(f"models:/{output.model_id}", dst_path=str(folder))
    files = (folder / "MLmodel", *(folder / "code").iterdir(), *(folder / "data").iterdir())
    shutil.copytree(folder, store / "copy")  # since the folder of a model that was loaded holds more
    whole = answers(store / "copy")
    np.testing.assert_allclose(whole, exported(torch.from_numpy(POINTS)).detach().numpy(), atol=1e-6)
    return Saved(folder, files, whole)


def damage(path: Path, place: int, generator: np.random.Generator) -> None:
    """Flip one bit of the byte at this place of a file, or cut off all from there."""
    content = bytearray(path.read_bytes())
    if generator.random() < 0.5:
        content[place] ^= 1 << int(generator.integers(8))
    else:
        del content[place:]
    path.write_bytes(content)


@pytest.mark.parametrize("number", range(POOLS))
def test_a_damaged_pool_is_built_again(cached: Cached, caplog: pytest.LogCaptureFixture, number: int) -> None:
    generator = numpy_generator(0, "damaged pool", number)
    cached.path.write_bytes(cached.content)
    damage(cached.path, int(generator.integers(len(cached.content))), generator)
    splits = load_splits(cached.config)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"the prepared pool {cached.path} is damaged; it is rebuilt"
    for pool, expected in ((splits.train, cached.splits.train), (splits.test, cached.splits.test)):
        for found, array in zip(pool.arrays, expected.arrays, strict=True):
            np.testing.assert_array_equal(found, array)
    caplog.clear()
    assert load_splits(cached.config).digest == cached.splits.digest
    assert not caplog.records


@pytest.mark.parametrize("number", range(MODELS))
def test_a_damaged_model_is_refused_or_answers_as_before(saved: Saved, tmp_path: Path, number: int) -> None:
    generator = numpy_generator(0, "damaged model", number)
    folder = tmp_path / "model"
    shutil.copytree(saved.folder, folder)
    path, place = anywhere(saved.files, generator)
    damage(folder / path.relative_to(saved.folder), place, generator)
    if path.parent.name == "data":
        with pytest.raises(ValueError, match="must have the SHA-256 that was kept beside it"):
            answers(folder)
    else:
        found = None
        with suppress(Exception):  # of whatever kind: it is no answer
            found = answers(folder)
        assert found is None or np.array_equal(found, saved.answers)


def anywhere(files: tuple[Path, ...], generator: np.random.Generator) -> tuple[Path, int]:
    """One of all bytes of the files: the file, and the place of the byte in it."""
    sizes = [path.stat().st_size for path in files]
    ends = np.cumsum(sizes)
    byte = int(generator.integers(ends[-1]))
    index = int(np.searchsorted(ends, byte, side="right"))
    return files[index], byte - int(ends[index] - sizes[index])


def answers(folder: Path) -> NDArray[np.float32]:
    """What the model in a folder says of POINTS. Warnings are not heard: they would keep nobody from using it."""
    with imported_anew("checked_pt2"), warnings.catch_warnings(action="ignore"):
        found: NDArray[np.float32] = mlflow.pyfunc.load_model(str(folder)).predict(POINTS)
    return found


@contextmanager
def imported_anew(module: str) -> Iterator[None]:
    """Let a model bring a module of this name, as to a process that has loaded no other one; it is forgotten after."""
    path, before = sys.path, sys.modules.pop(module, None)
    try:
        yield
    finally:
        sys.path = path  # MLflow puts the folder of the module in front
        sys.modules.pop(module, None)
        if before is not None:
            sys.modules[module] = before

"""What `evaluate` logged to MLflow answers elsewhere, where this package is not, as it did here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data.config import DataConfig
from pipeline.data.dataset import Samples
from pipeline.stages import evaluate
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.replicas import round_replicas
from pipeline.stages.stage import Sampling
from pipeline.tasks.registry import get_variant
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.tracking.port import RunRecord
from pipeline.training.compute import Compute
from tests.stages.runs import answers_from
from tests.stages.silent import Silent
from tests.tracking.conftest import use

MODELS = {"lenet_digits": "mnist5k", "disc_mlp": "disc"}
"""A model of digits, with batch normalisation and an auxiliary classifier, and that of points; and their data sets."""
ELSEWHERE = """
import sys

sys.modules["pipeline"] = None  # any import of it fails
import mlflow
import numpy as np

for model_id, samples, outputs in zip(*[iter(sys.argv[1:])] * 3):
    logged = mlflow.pyfunc.load_model(f"models:/{model_id}")
    np.save(outputs, logged.predict(np.load(samples)))
"""


@dataclass(frozen=True)
class Logged:
    """A run, the samples that its model was tested on, and what the model says of them elsewhere."""

    run: RunRecord
    samples: Samples
    outputs: NDArray[np.float32]


@pytest.fixture(scope="module")
def logged(empty_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Logged]:
    """Each model after an evaluation of one round, asked by a process that knows MLflow alone."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(empty_runs, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        use(patch, f"sqlite:///{folder}/mlflow.db", folder)
        tracker = MlflowTracker()
        runs, samples, ids = {}, {}, {}
        for model, dataset in MODELS.items():
            sampling = Sampling(data=DataConfig(dataset=dataset, cache_dir=folder / "cache"), samples=200)
            config = EvaluateConfig(
                sampling=sampling,
                model=model,
                rounds=1,
                preset="report",
                changes="epochs=2",
                compute=Compute(workers=1, device="cpu"),
            )
            runs[model] = evaluate.run(config, tracker, Silent()).run_id
            subject = evaluate.inputs(config)
            variant, splits = subject.variant, subject.splits
            [replica] = round_replicas(splits, sampling, variant.preset, rounds=1)
            samples[model] = splits.test.gather(replica.held_out)
            np.save(folder / f"{model}.npy", samples[model]["x"])
            outputs: Any = tracker.client.get_run(runs[model]).outputs
            [output] = outputs.model_outputs
            ids[model] = output.model_id
        arguments = [text for model in MODELS for text in (ids[model], f"{model}.npy", f"{model}-outputs.npy")]
        subprocess.run([sys.executable, "-I", "-c", ELSEWHERE, *arguments], check=True)
        return {
            model: Logged(
                run=tracker.get(runs[model]),
                samples=samples[model],
                outputs=np.load(folder / f"{model}-outputs.npy"),
            )
            for model in MODELS
        }


@pytest.mark.parametrize("model", MODELS)
def test_it_errs_as_often_as_the_round_did(logged: dict[str, Logged], model: str) -> None:
    each = logged[model]
    wrong = answers_from(get_variant(model).task, each.outputs) != each.samples["target"]
    assert np.mean(wrong) == pytest.approx(each.run.metrics["final_test_error"])


def test_a_digit_model_names_as_many_digits_wrong(logged: dict[str, Logged]) -> None:
    each = logged["lenet_digits"]
    assert each.outputs.shape == (200, 2, 10)
    assert each.outputs.min() >= 0
    np.testing.assert_allclose(each.outputs.sum(-1), 1, atol=1e-5)
    wrong = each.outputs.argmax(-1) != each.samples["digits"]
    assert np.mean(wrong) == pytest.approx(each.run.metrics["final_test_digit_error"])


def test_points_are_told_by_a_sign(logged: dict[str, Logged]) -> None:
    outputs = logged["disc_mlp"].outputs
    assert outputs.shape == (200, 1)
    assert outputs.min() < 0 < outputs.max()
    assert np.abs(outputs).max() <= 1

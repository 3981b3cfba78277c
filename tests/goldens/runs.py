"""The trainings whose results are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.data.config import DataConfig
from pipeline.stages import cross_validate, evaluate, reproduce, search
from pipeline.stages.cross_validate import CrossValidateConfig
from pipeline.stages.evaluate import EvaluateConfig
from pipeline.stages.reproducing.config import ReproduceConfig
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Sampling
from pipeline.tasks.registry import get_variant, task_of, variants
from pipeline.training.compute import Compute
from tests.goldens import results, stored
from tests.memory import MemoryTracker
from tests.stages.silent import Silent

SPACE = "lr: {type: choice, values: [0.001, 0.002]}\nepochs: {type: choice, values: [2]}\n"
QUICK_TABLES = {
    "000/table-2": 3,
    "001/table-3": 3,
    "001/table-4": 3,
    "002/figure-1": 1,
    "003/figure-3": 1,
    "004/table-ws": 3,
    "004/disc": 3,
}
"""Table of each report -> rounds that do not take hours."""


def sampling_of(folder: Path, model: str, samples: int = 30) -> Sampling:
    """A few samples of the first data set of a variant's task."""
    dataset, source = next(iter(task_of(get_variant(model)).datasets.items()))
    data = DataConfig(cache_dir=folder / "cache", dataset=dataset)
    return Sampling(data=data, samples=samples, test_samples=0 if source.samples else samples)


class Few:
    """Two folds, two trials and two rounds of a variant."""

    def __init__(self, folder: Path, model: str) -> None:
        (folder / "space.yaml").write_text(SPACE)
        self.tracker = MemoryTracker()
        common: dict[str, Any] = {
            "sampling": sampling_of(folder, model),
            "model": model,
            "compute": Compute(workers=1, device="cpu"),
        }
        stores: dict[str, Any] = {"storage": f"sqlite:///{folder / 'few.db'}", "artifacts": str(folder / "artifacts")}
        grid: dict[str, Any] = {"space": str(folder / "space.yaml"), "sampler": "two-step", "recheck": 1, "folds": 2}
        validation = CrossValidateConfig(**common, grid="epochs=2", folds=2)
        self.validated = cross_validate.run(validation, self.tracker, Silent())
        self.found = search.run(SearchConfig(**common, **stores, **grid), self.tracker, Silent())
        self.evaluation = EvaluateConfig(**common, rounds=2, from_run=self.found.run_id)
        self.evaluated = evaluate.run(self.evaluation, self.tracker, Silent())

    def kept(self) -> dict[str, Any]:
        """What is kept of it."""
        [run] = [run for run in self.tracker.runs if run.id == self.evaluated.run_id]
        return {**results(self.tracker.runs), **stored(run)}


def all_variants(folder: Path) -> dict[str, Any]:
    """The same of every variant."""
    return {name: Few(folder, name).kept() for name in variants()}


def whole_search(folder: Path, model: str = "mlp_ws_al", **options: Any) -> dict[str, Any]:
    """The trials of a search with the options that it has by default, by number."""
    tracker = MemoryTracker()
    config = SearchConfig(
        sampling=sampling_of(folder, model, samples=1000),
        model=model,
        storage=f"sqlite:///{folder / 'whole.db'}",
        artifacts=str(folder / "artifacts"),
        **options,
    )
    search.run(config, tracker, Silent())
    return trials_of(tracker)


def trials_of(tracker: MemoryTracker) -> dict[str, Any]:
    """The trials of a search: configuration, state, and all losses and errors."""
    return {
        run.tags.get("trial", "search"): {
            **results([run]),
            "config": run.tags["config"],
            "config_hash": run.tags["config_hash"],
            "state": run.tags.get("state", ""),
        }
        for run in sorted(tracker.runs, key=lambda run: run.name)
    }


def begun_study(folder: Path, n_trials: int) -> SearchConfig:
    """A small search that can be continued."""
    sampling = replace(sampling_of(folder, "mlp_ws_al"), samples=60)
    return SearchConfig(
        sampling=sampling,
        model="mlp_ws_al",
        folds=2,
        population=2,
        n_trials=n_trials,
        recheck=0,
        pruner="none",
        space=str(_small_space(folder)),
        storage=f"sqlite:///{folder / 'optuna.db'}",
        artifacts=str(folder / "artifacts"),
        compute=Compute(workers=1, device="cpu"),
    )


def _small_space(folder: Path) -> Path:
    path = folder / "begun.yaml"
    path.write_text(
        "lr: {type: float, low: 1e-4, high: 1e-2, log: true, digits: 3}\n"
        "alpha: {type: float, low: 0, high: 2, step: 0.25}\n"
        "epochs: {type: choice, values: [2, 3, 25]}\n"
    )
    return path


def quick_table(folder: Path, table: str, rounds: int) -> dict[str, Any]:
    """What `reproduce` measures for a table."""
    tracker = MemoryTracker()
    config = ReproduceConfig(
        sampling=sampling_of(folder, "mlp", samples=1000),
        tables=[table],
        rounds=rounds,
        storage=f"sqlite:///{folder / 'tables.db'}",
        compute=Compute(workers=2, device="cpu"),
    )
    reproduce.run(config, tracker, Silent(), lambda _: None)
    return results(tracker.runs)

"""The stages from Python: what the commands of the same names do, over one data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_dir

from pipeline.base.errors import InputError
from pipeline.base.processes import cores
from pipeline.cli.terminal import Terminal
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.models.hyperparameters import Value
from pipeline.models.own.definition import Definition, definitions_of
from pipeline.stages import compare, evaluate
from pipeline.stages.stage import Sampling, StageResult
from pipeline.tasks.registry import factor_names
from pipeline.tasks.subjects import find_model, kept, open_data, usual_samples
from pipeline.tracking.mlflow_tracker import MlflowTracker
from pipeline.training.compute import Compute

if TYPE_CHECKING:
    from pipeline.tuning.given_space import Given

Model = str | type | Callable[..., Any] | Definition
"""A class or function that makes networks, an estimator or its class, one of `definitions_of` them, or the name of a
variant that comes with variantlab."""


def cache_folder(given: str | Path = "") -> Path:
    """Where downloads and prepared data are kept."""
    return Path(given or os.environ.get("VARIANTLAB_CACHE") or user_cache_dir("variantlab"))


class Lab:
    """Variants on one data set, searched, evaluated and compared as the command line does it.

    Runs go to the MLflow store at MLFLOW_TRACKING_URI, or `sqlite:///mlflow.db` in the working folder.

    >>> lab = Lab(vl.data.load("sklearn:digits"))  # doctest: +SKIP
    >>> lab.evaluate(Wide), lab.evaluate(Narrow)  # doctest: +SKIP
    >>> print(lab.compare())  # doctest: +SKIP

    Args:
        data: samples of `vl.data`, or the name of a data set as `--dataset` takes it.
        task: `classification`, `regression`, `pairs` or `module:TASK`; by the target if empty.
        metric: what is searched and ranked by; the first one of the task if empty.
        test_size: share of samples that are kept for testing, where the data set does not say which, 0 to 1.
        train_size: training samples of a round; None for all of a data set of your own.
        seed: root of every draw.
        storage: database URL of the studies.
        workers: processes that train; None for one a core.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(
        self,
        data: Labelled | str,
        *,
        task: str = "",
        metric: str = "",
        test_size: float = 0.25,
        train_size: int | None = None,
        seed: int = 0,
        storage: str = "sqlite:///optuna.db",
        workers: int | None = None,
        device: str = "auto",
    ) -> None:
        given = {} if isinstance(data, str) else {"given": data}
        config = DataConfig(
            dataset=data if isinstance(data, str) else data.name,
            task=task,
            metric=metric,
            options={} if test_size == 0.25 else {"test_size": str(test_size)},
            cache_dir=cache_folder(),
            **given,  # type: ignore[arg-type]
        )
        samples = usual_samples(config) if train_size is None else train_size
        self._sampling = Sampling(data=config, seed=seed, samples=samples)
        self._compute = Compute(workers=cores() if workers is None else workers, device=device)
        self._storage = storage
        self._terminal = Terminal()
        self._evaluated: dict[str, None] = {}
        self._searched: set[str] = set()
        self._loaded: dict[object, Any] = {}
        with kept(self._loaded):
            open_data(config)  # raises at once for what is wrong with the data

    def search(
        self,
        model: Model,
        *,
        space: Given | str = "",
        n_trials: int = 30,
        folds: int = 5,
        sampler: str = "tpe",
        **options: Any,
    ) -> StageResult:
        """Search hyperparameters by cross validation on training samples; the same call again goes on.

        Args:
            model: what is searched.
            space: hyperparameter or constructor argument -> `vl.Float`, `vl.Int` or a list; or the path of a file.
            n_trials: trials in all, those of earlier calls included.
            folds: parts that the training samples are split into.
            sampler: `tpe`, `random`, `qmc`, `cmaes`, `gp`, `nsga2` or `grid`.
            options: further fields of `SearchConfig`, such as `population`, `pruner`, `recheck`, `timeout` (seconds).
        """
        from pipeline.stages import search  # with Optuna
        from pipeline.stages.searching.config import SearchConfig

        config = SearchConfig(
            sampling=self._sampling,
            model=_model(model),
            space=space,
            n_trials=n_trials,
            folds=folds,
            sampler=sampler,
            storage=self._storage,
            compute=self._compute,
            **options,
        )
        with self._tracker() as tracker:
            result = search.run(config, tracker, self._terminal)
        self._searched.add(_name(config.model))
        return result

    def evaluate(
        self,
        model: Model,
        *,
        rounds: int = 20,
        changes: Mapping[str, Value] | None = None,
        preset: str = "",
        resampling: str = "none",
    ) -> StageResult:
        """Measure a model on test samples over rounds of fresh weights, and of fresh training samples where not all
        train.

        Args:
            model: what is measured.
            rounds: how many.
            changes: hyperparameter or constructor argument -> value, in the place of what the configuration has.
            preset: `best` of the newest search, or the model's `default`; the best if this lab has searched it.
            resampling: `none`, or `bootstrap`: rounds train on as many samples drawn with replacement.
        """
        named = _model(model)
        config = evaluate.EvaluateConfig(
            sampling=self._sampling,
            model=named,
            rounds=rounds,
            preset=preset or ("best" if _name(named) in self._searched else "default"),
            changes=" ".join(f"{name}={_typed(value)}" for name, value in (changes or {}).items()),
            resampling=resampling,
            compute=self._compute,
        )
        with self._tracker() as tracker:
            result = evaluate.run(config, tracker, self._terminal)
        self._evaluated[_name(named)] = None
        return result

    def compare(
        self, models: Sequence[str] = (), *, contrasts: Sequence[tuple[str, str]] = (), allow_unequal: bool = True
    ) -> StageResult:
        """Which of the evaluated models is better, and by how much.

        Args:
            models: names of those that are compared; all that this lab has evaluated if empty.
            contrasts: differences to test, as pairs of names; the effects of declared factors if empty.
            allow_unequal: whether to rank, with a note, what was not measured or searched alike; else InputError.
        """
        if not models and not self._evaluated:
            raise InputError("a comparison needs evaluated models, but this lab has none; call evaluate first")
        config = compare.CompareConfig(
            models=",".join(models or self._evaluated),
            contrast=",".join(":".join(pair) for pair in contrasts),
            allow_unequal=allow_unequal,
        )
        with self._tracker() as tracker:
            return compare.run(config, tracker, self._terminal)

    @contextmanager
    def _tracker(self) -> Iterator[MlflowTracker]:
        with kept(self._loaded), MlflowTracker(factor_names()) as tracker:
            yield tracker


def _model(model: Model) -> str | Definition:
    if isinstance(model, str | Definition):
        found = find_model(model)  # as the file is now
        return found if isinstance(found, Definition) else model
    variants = definitions_of(model)
    if len(variants) > 1:
        names = ", ".join(each.name for each in variants)
        raise InputError(
            f"one variant is trained at a time, but {variants[0].family} declares {len(variants)} ({names}); take one "
            f"of definitions_of({variants[0].family})"
        )
    return variants[0]


def _name(model: str | Definition) -> str:
    return find_model(model).name


def _typed(value: Value) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)

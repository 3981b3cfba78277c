"""The MLflow adapter: explicit run ids through MlflowClient, one batched write a call.

Started by `mlflow run`, the first run opened is the one that MLflow made. It already carries the project's parameters
under their own names, and MLflow refuses other text under a name that exists, so those are left as they are.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")  # what is pickled can run anything
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of files that take no time
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")  # no uv.lock of the working folder is kept with a model

import mlflow
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Param,
    RunTag,
    ViewType,
)
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Run as MlflowRun
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.exceptions import MlflowException
from mlflow.models import Model, infer_signature
from mlflow.utils.mlflow_tags import (
    MLFLOW_MODEL_VERSIONS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH, validate_param_and_metric_name
from sqlalchemy.exc import SQLAlchemyError

from pipeline.base.errors import InputError, StageError, StoreError, UnknownNameError, hide_secrets
from pipeline.base.extras import explain_missing
from pipeline.base.files import full_place, is_no_space
from pipeline.base.interruptions import held
from pipeline.base.locks import machine_lock
from pipeline.base.outages import StillAwayError, TrackerAwayError
from pipeline.base.stores import named_file, store_error, try_to_write
from pipeline.data.dataset import Dataset as Data
from pipeline.data.dataset import Splits
from pipeline.tracking.address import IF_DAMAGED, is_sqlite, server_page, sqlite_file, tracking_uri
from pipeline.tracking.heartbeat import Heartbeat, abandoned, living_tags
from pipeline.tracking.patience import PatientClient
from pipeline.tracking.port import (
    VARIANTS,
    Metric,
    ModelToLog,
    Run,
    RunQuery,
    RunRecord,
    RunStart,
    Status,
    param_text,
)
from pipeline.tracking.project_run import is_elsewhere
from pipeline.tracking.provenance import code_tags, is_of_this_project, user_name
from pipeline.tracking.times import Span, end_of
from pipeline.tracking.views import views
from pipeline.training.machine import this_machine

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.export import ExportedProgram

PROJECT_EXPERIMENT = "0"
"""Id of the experiment that `mlflow run` puts runs into unless it is given another one."""
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""What lets MLflow's user interface open an experiment with its runs."""
LOCAL_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens."""
START_SECONDS = 20
"""How long a store that does not answer is waited for when it is opened."""
CHAMPION = "champion"
UNWATCHED = ("trial", "cell", "summary")
"""Runs of which many are open at once, or one for a moment: no system metrics are logged with them."""
PAGE = 1000
LARGE = 10_000
"""Rows of a table of metrics from which on it matters in which order SQLite reads tables."""
MAX_REASON = 400
"""Characters of an error that is told in one line."""


def system_metrics_are_wanted() -> bool:
    """Whether MLflow's variable for it is set."""
    variable: Any = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING  # untyped
    return bool(variable.get())


class MlflowTracker:
    """Runs in an MLflow tracking store."""

    def __init__(self, factors: Sequence[str] = ()) -> None:
        """Open the store, creating it if need be; lists of its runs show these `factors` of variants.

        Raises InputError when it cannot be reached or written.
        """
        self._experiment_tags = EXPERIMENT_KIND | dict(view.tag for view in views(factors))
        self.seconds = 0.0
        uri = tracking_uri()
        self.place = str(sqlite_file(uri).resolve()) if is_sqlite(uri) else hide_secrets(uri)
        if is_elsewhere(uri):
            raise InputError(
                f"MLFLOW_TRACKING_URI must name the same store for `mlflow run` and for its stages, but they start in "
                f"the project's folder, {Path.cwd()}, and {uri} is not there; give an absolute path: "
                f"sqlite:////folder/mlflow.db"
            )
        for name in ("alembic", "mlflow.tracking", "mlflow.system_metrics", "mlflow.pyfunc"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it tells it raises as well
        try:
            with self.timed(), machine_lock("mlflow tables", uri):
                if is_sqlite(uri):
                    try_to_write(sqlite_file(uri))  # MLflow would try for minutes
                    _count_rows(sqlite_file(uri))
                mlflow.set_tracking_uri(uri)
                self._patient = PatientClient(uri)
                self.client = cast(mlflow.MlflowClient, self._patient)
                self._experiments: dict[str, str] = {}
                with self._patient.waiting(START_SECONDS):
                    self.experiment_id = self._experiment(VARIANTS)
                self._project_run = os.environ.get("MLFLOW_RUN_ID")
                if self._project_run:
                    for tag, value in living_tags().items():
                        self.client.set_tag(self._project_run, tag, value)
        except StillAwayError as error:
            raise _unusable(f"{self.place} has not answered for {START_SECONDS} seconds ({error.reason})") from error
        except StoreError as error:
            raise _unusable(f"{error.fault}; {error.remedy}") from error
        except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError, OSError, ValueError) as error:
            said = " ".join(f"{uri}: {explain_missing(error)}".split())
            raise _unusable(hide_secrets(said)[:MAX_REASON]) from error
        self.open: dict[str, OpenRun] = {}
        """Runs that were started and have not ended."""
        self._heartbeat: Heartbeat | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is open; a store that is away is not waited for, and repaired by the next start."""
        with suppress(TrackerAwayError, StageError), self._patient.hurried():
            for run in list(self.open.values()):
                run.end("KILLED")
            if self._project_run:  # no stage came to open it
                self._kill(_record(self.client.get_run(self._project_run)))

    def at_once(self) -> AbstractContextManager[None]:
        """Raise TrackerAwayError instead of waiting; see `Tracker.at_once`."""
        return self._patient.hurried()

    def _experiment(self, purpose: str) -> str:
        """Id of the experiment that the environment names, else of the one of this purpose."""
        if purpose not in self._experiments:
            chosen, name = os.environ.get("MLFLOW_EXPERIMENT_ID"), os.environ.get("MLFLOW_EXPERIMENT_NAME")
            with self.timed(), machine_lock("mlflow experiments", tracking_uri()):
                if not tracking_uri().startswith("http"):
                    self._name_default()
                found = self._with_id(chosen) if chosen else self._named(name or purpose)
            if found is None:
                raise InputError(
                    f"MLFLOW_EXPERIMENT_ID must be the id of an experiment, but {self.place} has none with the id "
                    f"{chosen}; `mlflow experiments search` lists them"
                )
            if found.lifecycle_stage != "active":
                raise InputError(
                    f"runs go to an experiment that is not deleted, but {found.name!r} is; restore it with `mlflow "
                    f"experiments restore --experiment-id {found.experiment_id}`, or name another one in "
                    f"MLFLOW_EXPERIMENT_NAME"
                )
            self._experiments[purpose] = str(found.experiment_id)
        return self._experiments[purpose]

    def _experiment_of(self, parent: Run) -> str:
        """Where a run has to be to stand below its parent in the user interface."""
        return parent.experiment if isinstance(parent, OpenRun) else self.get(parent.id).experiment

    def _with_id(self, experiment_id: str) -> Experiment | None:
        try:
            found: Experiment = self.client.get_experiment(experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return found

    def _named(self, name: str) -> Experiment:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            with _another_may_have_made_it():
                self.client.create_experiment(name, tags=self._experiment_tags)
            found = self.client.get_experiment_by_name(name)
        assert found is not None
        return found

    def _name_default(self) -> None:
        """Give the experiment of `mlflow run` the name of its purpose, so that runs that are started otherwise are put
        beside its runs; not where it holds runs of others."""
        default = self._with_id(PROJECT_EXPERIMENT)
        if default is None or default.name != "Default" or default.lifecycle_stage != "active":
            return
        runs = self.client.search_runs([PROJECT_EXPERIMENT], max_results=PAGE)
        if self.client.get_experiment_by_name(VARIANTS) is None and all(map(_is_ours, runs)):
            self.client.rename_experiment(PROJECT_EXPERIMENT, VARIANTS)
            for key, value in self._experiment_tags.items():
                self.client.set_experiment_tag(PROJECT_EXPERIMENT, key, value)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of what happens inside as the tracker's; where the store is a file, signals wait for it.

        Raises StoreError when the store is damaged, or cannot be written.
        """
        started = time.perf_counter()
        try:
            with held() if is_sqlite(tracking_uri()) else nullcontext():
                yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            if (known := store_error(error, self._written(error), IF_DAMAGED)) is not None:
                raise known from error
            raise
        finally:
            self.seconds += time.perf_counter() - started

    def _written(self, error: Exception) -> str:
        """What was being written when an error came: a file, the folder of artifacts, or the database."""
        if isinstance(error, OSError) and (file := named_file(error)):
            return file
        if not isinstance(error, OSError) or not is_no_space(error):
            return self.place
        locations = [self.client.get_experiment(each).artifact_location for each in self._experiments.values()]
        artifacts = [Path(urlsplit(each).path) for each in locations if urlsplit(each).scheme in ("", "file")]
        return full_place([Path(tempfile.gettempdir()), *artifacts])  # MLflow writes there first

    def start(self, start: RunStart, parent: Run | None = None) -> Run:
        """Open a run; see `Tracker.start`."""
        tags = {
            "role": start.role,
            **living_tags(),
            MLFLOW_USER: user_name(),
            **code_tags(),
            **this_machine(),
            **start.data_tags,
            **start.tags,
        }
        if start.description:
            tags[MLFLOW_RUN_NOTE] = _fitting(start.description)
        with self.timed():
            if self._project_run:
                made = self.client.get_run(self._project_run)
                run = OpenRun(self, _record(made))
                self._project_run = None
                late = {**tags, MLFLOW_RUN_NAME: start.name}
            else:
                late = {}
                tags[MLFLOW_SOURCE_NAME] = f"variantlab {start.role}"
                if parent is not None:
                    tags[MLFLOW_PARENT_RUN_ID] = parent.id
                began = None if start.started is None else _milliseconds(start.started)
                experiment = self._experiment(start.purpose) if parent is None else self._experiment_of(parent)
                made = self.client.create_run(experiment, began, tags, start.name)
                run = OpenRun(self, _record(made))
            self.keep_open(run)
            if start.role not in UNWATCHED and system_metrics_are_wanted():
                run.watch()
        if start.params or late:
            run.log(params=start.params, tags=late)
        if start.data is not None:
            run.inputs(start.data, start.test_data)
        if start.data_of:
            run.inputs_of(start.data_of)
        return run

    def reopen(self, record: RunRecord, parent: Run | None = None, *, again: bool = False) -> Run:
        """Open a run that exists; see `Tracker.reopen`."""
        run = OpenRun(self, record)
        if again:
            run.log(tags=living_tags())
            with self.timed():
                self.client.update_run(run.id, "RUNNING")
            self.keep_open(run)
        if parent is not None and record.tags.get(MLFLOW_PARENT_RUN_ID) != parent.id:
            run.log(tags={MLFLOW_PARENT_RUN_ID: parent.id})
        return run

    def keep_open(self, run: OpenRun) -> None:
        """Know of a run that has not ended, and let others know of this process by the first of them."""
        self.open[run.id] = run
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self.client.tracking_uri, run.id)

    def let_go(self, run: OpenRun) -> None:
        """Forget a run that has ended, or is another process's."""
        self.open.pop(run.id, None)
        if self._heartbeat is not None and self._heartbeat.run_id == run.id:
            self._heartbeat.stop()
            self._heartbeat = None

    def find(self, role: str = "", *, experiment: str | None = None, **tags: str) -> list[RunRecord]:
        """Find runs; see `Tracker.find`."""
        return list(self.search(RunQuery(role=role, experiment=experiment, tags=tags)))

    def search(self, query: RunQuery) -> Iterator[RunRecord]:
        """Find runs in an order; see `Tracker.search`."""
        with self.timed():
            experiments = {
                found.name: found.experiment_id for found in self.client.search_experiments(ViewType.ACTIVE_ONLY)
            }
        if query.experiment and query.experiment not in experiments:
            raise UnknownNameError("experiment", query.experiment, experiments)
        if not validate_param_and_metric_name(query.metric):  # type: ignore[no-untyped-call]
            return  # no run has a metric of such a name, and MLflow cannot read it in a query
        chosen = experiments.values() if query.experiment is None else [experiments.get(query.experiment)]
        ids, condition, order = [each or self.experiment_id for each in chosen], _condition(query), _order(query)
        wanted, token = query.limit or math.inf, None
        while True:
            with self.timed():
                page = self.client.search_runs(
                    ids, condition, max_results=int(min(wanted, PAGE)), order_by=order, page_token=token
                )
            for record in map(_record, page):
                if query.metric and query.metric not in record.metrics:
                    return  # they come last
                if query.admits(record):
                    yield record
                    wanted -= 1
                    if not wanted:
                        return
            token = page.token
            if not token:
                return

    def get(self, run_id: str) -> RunRecord:
        """Read one run; see `Tracker.get`."""
        try:
            with self.timed():
                return _record(self.client.get_run(run_id))
        except MlflowException as error:
            raise InputError(f"there is no run {run_id!r} in {self.place}") from error

    def has(self, run_id: str) -> bool:
        """Whether there is a run of this id; see `Tracker.has`."""
        with suppress(InputError):
            return bool(self.get(run_id).id)
        return False

    def history(self, run_id: str, metric: str) -> list[float]:
        """Read a metric's values; see `Tracker.history`."""
        with self.timed():
            values = self.client.get_metric_history(run_id, metric)
        return [value.value for value in sorted(values, key=lambda value: value.step)]

    def read_text(self, run_id: str, path: str) -> str | None:
        """Read a text; see `Tracker.read_text`."""
        folder, _, name = path.rpartition("/")
        with self.timed(), tempfile.TemporaryDirectory() as into:
            if path not in {file.path for file in self.client.list_artifacts(run_id, folder or None)}:
                return None
            self.client.download_artifacts(run_id, path, into)
            return (Path(into) / folder / name).read_text(encoding="utf-8")

    def register(self, run: Run, name: str) -> str:
        """Make a run's network a version of a registered model; see `Tracker.register`."""
        with self.timed():
            with _another_may_have_made_it():
                self.client.create_registered_model(name)
            outputs = self.client.get_run(run.id).outputs
            assert outputs is not None
            [model] = outputs.model_outputs
            source = f"models:/{model.model_id}"
            made = self.client.create_model_version(name, source, run.id, model_id=model.model_id)
            # The page of the model names its versions by this tag, which only a server sets by itself.
            versions = json.dumps([{"name": name, "version": made.version}])
            self.client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: versions})
            return str(made.version)

    def champion(self, name: str) -> RunRecord | None:
        """The run of the best version; see `Tracker.champion`."""
        with self.timed():
            try:
                version = self.client.get_model_version_by_alias(name, CHAMPION)
            except MlflowException:
                return None
            assert version.run_id is not None
            return _record(self.client.get_run(version.run_id))

    def set_champion(self, name: str, version: str) -> None:
        """Set the alias; see `Tracker.set_champion`."""
        with self.timed():
            self.client.set_registered_model_alias(name, CHAMPION, version)

    def link(self, run_id: str) -> str:
        """A run's page; see `Tracker.link`."""
        uri = tracking_uri()
        server = server_page(uri) if uri.startswith("http") else LOCAL_UI
        return f"{server}/{self.reference(run_id)}"

    def reference(self, run_id: str) -> str:
        """A run's page as another page of the user interface names it; see `Tracker.reference`."""
        # The page of a run is found by the run's id alone.
        return f"#/experiments/{self.experiment_id}/runs/{run_id}"

    def discard(self, record: RunRecord) -> None:
        """Delete a run; see `Tracker.discard`."""
        with self.timed():
            if record.status == "RUNNING":
                self._kill(record)
            self.client.delete_run(record.id)

    def repair(self, gone: str = "") -> int:
        """End what dead processes left open; see `Tracker.repair`."""
        with self.timed():
            stale = abandoned(self.left_open(), gone)
            for run in stale:
                self._kill(run)
        return len(stale)

    def _kill(self, record: RunRecord) -> None:
        """End a run that this process has not opened."""
        self.client.set_terminated(record.id, "KILLED", end_of(_milliseconds(record.started)))

    def left_open(self) -> list[RunRecord]:
        """Runs that have not ended; see `Tracker.left_open`."""
        with self.timed():
            return list(self.search(RunQuery(status="RUNNING")))


class OpenRun:
    """One MLflow run; see `Run`."""

    def __init__(self, tracker: MlflowTracker, record: RunRecord) -> None:
        self.id = record.id
        self.experiment = record.experiment
        self._tracker = tracker
        self._taken = set(record.params)
        """Names of params that the run has: MLflow refuses other text for them."""
        self._began = _milliseconds(record.started)
        self._span = Span(self._began)
        self._test_data: tuple[str | None, str | None] = None, None
        """Name and digest of the test pool."""
        self._monitor: Any = None

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
        at: datetime | None = None,
        name: str = "",
        description: str = "",
    ) -> None:
        """Write a batch."""
        texts = {MLFLOW_RUN_NAME: name, MLFLOW_RUN_NOTE: _fitting(description)}
        tags = {**(tags or {}), **{key: text for key, text in texts.items() if text}}
        now = _milliseconds(at or datetime.now(UTC))
        fresh = {key: value for key, value in (params or {}).items() if key not in self._taken}
        with self._tracker.timed():
            self._tracker.client.log_batch(
                self.id,
                [MlflowMetric(metric.name, metric.value, now, metric.step) for metric in metrics],
                [Param(key, param_text(value)) for key, value in fresh.items()],
                [RunTag(key, value) for key, value in tags.items()],
            )
        self._taken |= fresh.keys()

    def inputs(self, splits: Splits, test_data: bool) -> None:
        """Attach the splits as dataset inputs."""
        parts = [("train", "training", splits.train)] + ([("test", "evaluation", splits.test)] if test_data else [])
        inputs = [_dataset(splits, *part) for part in parts]
        self._test_data = inputs[-1].dataset.name, inputs[-1].dataset.digest
        with self._tracker.timed():
            self._tracker.client.log_inputs(self.id, inputs)

    def inputs_of(self, records: Sequence[RunRecord]) -> None:
        """Attach the dataset inputs of these runs, each once."""
        client = self._tracker.client
        with self._tracker.timed():
            inputs = [client.get_run(record.id).inputs for record in records]
            found = {
                (each.dataset.name, each.dataset.digest): each
                for attached in inputs
                if attached is not None
                for each in attached.dataset_inputs
            }
            client.log_inputs(self.id, list(found.values()))

    def watch(self) -> None:
        """Log what processor, memory, disk and network do, until the run ends."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor: Any = SystemMetricsMonitor  # untyped
        self._monitor = monitor(self.id, tracking_uri=self._tracker.client.tracking_uri)
        self._monitor.start()

    def describe(self, markdown: str) -> None:
        """Set the run's description."""
        self.log(description=markdown)

    def text(self, path: str, content: str) -> None:
        """Keep a text file as an artifact."""
        with self._tracker.timed():
            self._tracker.client.log_text(self.id, content, path)

    def figure(self, path: str, figure: Figure) -> None:
        """Keep a picture as an artifact."""
        with self._tracker.timed():
            self._tracker.client.log_figure(self.id, figure, path, save_kwargs={"dpi": 120})

    def model(self, model: ModelToLog) -> None:
        """Keep a network as an MLflow model in the pt2 format (no pickle), which is refused once it is damaged.

        Raises ExportError where it cannot be exported; nothing is logged then.
        """
        from pipeline.models import checked_pt2  # with torch, a second to import

        client, exported = self._tracker.client, checked_pt2.export(model.network, model.example)
        with self._tracker.timed():
            # Not left to Model.log, which would give the model all metrics that the run has: those are of all rounds;
            # and which tries the model where it is, and so ships what Python compiled of its loader.
            params = client.get_run(self.id).data.params
            tags = {MLFLOW_RUN_NOTE: model.description, MLFLOW_USER: user_name()}
            logged = client.create_logged_model(self.experiment, model.name, self.id, tags, params)
            client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, step=0)])
            with tempfile.TemporaryDirectory() as folder:
                _save_model(model, exported, logged, Path(folder))
                client.log_model_artifacts(logged.model_id, folder)
            client.finalize_logged_model(logged.model_id, "READY")
            now, (name, digest) = _milliseconds(datetime.now(UTC)), self._test_data
            client.log_batch(
                self.id,
                [
                    MlflowMetric(metric.name, metric.value, now, metric.step, logged.model_id, name, digest, self.id)
                    for metric in model.metrics
                ],
            )

    def let_go(self) -> None:
        """Leave the run to another process."""
        self._tracker.let_go(self)

    def end(self, status: Status, ended: datetime | None = None) -> None:
        """Close the run."""
        if self._monitor is not None:
            self._monitor.finish()
        end = self._span.end if ended is None else max(self._began, _milliseconds(ended))
        with self._tracker.timed():
            self._tracker.client.set_terminated(self.id, status, end)
            self._tracker.let_go(self)


def _dataset(splits: Splits, part: str, context: str, data: Data) -> DatasetInput:
    dataset = Dataset(
        name=f"{splits.name}-{part}",
        digest=data.digest[:12],  # to tell them apart in lists; the tag dataset_digest is whole
        source_type="local",
        source=json.dumps({"description": splits.source, **splits.options}),
        profile=json.dumps({f"{data.item_name}s": len(data), "shape": list(data.arrays[0].shape)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _save_model(model: ModelToLog, program: ExportedProgram, logged: LoggedModel, folder: Path) -> None:
    """Write a model to an empty folder, with a loader that checks it."""
    from pipeline.models import checked_pt2  # with torch, a second to import

    example = model.example.numpy()
    output = model.network(model.example).detach().numpy()
    with tempfile.TemporaryDirectory() as exported:
        path = Path(exported) / "model.pt2"
        checked_pt2.save(program, path)
        mlflow.pyfunc.save_model(
            folder,
            loader_module="checked_pt2",
            data_path=str(path),
            code_paths=[checked_pt2.__file__],
            mlflow_model=Model(
                artifact_path=logged.artifact_location, model_uuid=logged.model_id, model_id=logged.model_id
            ),
            signature=infer_signature(example, output),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in ("mlflow", "torch", "numpy")],
            metadata={"description": model.description},
        )
        shutil.copy(checked_pt2.digest_path(path), folder / "data")


@contextmanager
def _another_may_have_made_it() -> Iterator[None]:
    """What is made here may be there already: other machines use the same server."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _is_ours(run: MlflowRun) -> bool:
    """Whether a stage has opened it, or `mlflow run` made it for one, such as for this process."""
    tags = run.data.tags
    return "role" in tags or is_of_this_project(tags) or run.info.run_id == os.environ.get("MLFLOW_RUN_ID")


def _record(run: MlflowRun) -> RunRecord:
    return RunRecord(
        id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        params=run.data.params,
        tags=run.data.tags,
        metrics=run.data.metrics,
        experiment=run.info.experiment_id,
        description=run.data.tags.get(MLFLOW_RUN_NOTE, ""),
        ended=None if run.info.end_time is None else datetime.fromtimestamp(run.info.end_time / 1000, UTC),
    )


def _unusable(fault: str) -> InputError:
    return InputError(f"MLFLOW_TRACKING_URI must name a tracking store that can be reached and written, but {fault}")


def _condition(query: RunQuery) -> str:
    """What MLflow can tell of a query; it has no way to write an apostrophe."""
    tags = {**({"role": query.role} if query.role else {}), **query.tags}
    conditions = [f"tags.`{key}` = '{value}'" for key, value in tags.items() if "'" not in value]
    conditions += [f"tags.role != '{role}'" for role in query.other_than]
    if query.lacking:
        conditions.append(f"tags.`{query.lacking}` IS NULL")
    if query.status:
        conditions.append(f"attributes.status = '{query.status}'")
    return " and ".join(conditions)


def _order(query: RunQuery) -> list[str]:
    by_start = f"attributes.start_time {'ASC' if query.reverse and not query.metric else 'DESC'}"
    return [f"metrics.`{query.metric}` {'DESC' if query.reverse else 'ASC'}", by_start] if query.metric else [by_start]


def _count_rows(file: Path) -> None:
    """Let SQLite take statistics of a store that has become large, once: without them it sorts runs by a metric in
    quadratic time, here and in MLflow's user interface."""
    with closing(sqlite3.connect(file)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "latest_metrics" in tables and "sqlite_stat1" not in tables:
            [(rows,)] = database.execute("SELECT max(rowid) FROM latest_metrics")
            if (rows or 0) > LARGE:
                database.execute("PRAGMA analysis_limit = 1000")
                database.execute("ANALYZE")
                database.commit()


def _fitting(description: str) -> str:
    """A description that MLflow keeps whole: of a longer one the first lines."""
    if len(description) <= MAX_TAG_VAL_LENGTH:
        return description
    rest = "\n\nThe rest is in the run's artifacts."
    room = MAX_TAG_VAL_LENGTH - len(rest)
    end = description.rfind("\n", 0, room)
    return description[: room if end < 0 else end] + rest


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

"""MLflow's client, which outlasts a tracking store that does not answer for a while."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # it is this client that calls again
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines, and two requests, for each run

import mlflow
import requests
from mlflow.exceptions import InvalidUrlException, MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from pipeline.base.errors import hide_secrets
from pipeline.base.files import is_no_space
from pipeline.base.outages import TrackerAwayError, retry

PAUSE_SECONDS = 1.0
"""Between two looks at a server that is away."""
HURRIED_SECONDS = 1
"""How long one call may take where nothing is to wait."""
GLANCE_SECONDS = 0.5
"""How long a server may take to say that it is there, where nothing is to wait."""
ATTEMPT_SECONDS = 10
"""How long one call may take where a server is waited for, but not for long."""
START = "start_id"
"""Tag by which something is found whose making was not answered."""


def _made_run(client: mlflow.MlflowClient, given: Mapping[str, Any]) -> Any:
    return next(iter(client.search_runs([given["experiment_id"]], f"tags.{START} = '{given['tags'][START]}'")), None)


def _made_experiment(client: mlflow.MlflowClient, given: Mapping[str, Any]) -> Any:
    found = client.get_experiment_by_name(given["name"])
    return None if found is None else found.experiment_id


def _made_logged_model(client: mlflow.MlflowClient, given: Mapping[str, Any]) -> Any:
    models = client.search_logged_models([given["experiment_id"]], f"source_run_id = '{given['source_run_id']}'")
    return next((model for model in models if model.tags.get(START) == given["tags"][START]), None)


def _logged_outputs(client: mlflow.MlflowClient, given: Mapping[str, Any]) -> Any:
    """Whether the models are those of the run already: MLflow would add them once more."""
    outputs = client.get_run(given["run_id"]).outputs
    kept = {output.model_id for output in outputs.model_outputs} if outputs is not None else set()
    return True if {model.model_id for model in given["models"]} <= kept else None


def _made_registered_model(client: mlflow.MlflowClient, given: Mapping[str, Any]) -> Any:
    try:
        return client.get_registered_model(given["name"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _made_version(client: mlflow.MlflowClient, given: Mapping[str, Any]) -> Any:
    versions = client.search_model_versions(f"run_id = '{given['run_id']}'")
    return next((version for version in versions if version.tags.get(START) == given["tags"][START]), None)


MADE: Mapping[str, Callable[[mlflow.MlflowClient, Mapping[str, Any]], Any]] = {
    "create_run": _made_run,
    "create_experiment": _made_experiment,
    "create_logged_model": _made_logged_model,
    "create_registered_model": _made_registered_model,
    "create_model_version": _made_version,
    "log_outputs": _logged_outputs,
}
"""Calls that do more when they are made twice -> what looks, given their arguments, for what the first time has made;
None if there is nothing."""
MARKED = frozenset({"create_run", "create_logged_model", "create_model_version"})
"""Those that make one thing after the other of the same name."""


class PatientClient:
    """`mlflow.MlflowClient`, whose calls are made again when the store was away and is back. What a call creates is
    created once, also where the store has done it and only its answer was lost.

    Raises StageError when it stays away for too long (see `pipeline.base.outages`), and where nothing is to wait
    TrackerAwayError at once: a server that was away once is looked for beside all else, so that nothing waits for it
    twice.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = mlflow.MlflowClient(uri)
        self._hurried = False
        self._patience: float | None = None
        self._is_away = threading.Event()
        """Set while a server that did not answer is looked for."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name in MADE or name.startswith("create_"):
            return partial(self._once, name)
        return partial(self._outlast, attribute) if callable(attribute) else attribute

    @contextmanager
    def waiting(self, seconds: float) -> Iterator[None]:
        """Inside, a store that is away is waited for so long at most."""
        before, self._patience = self._patience, seconds
        try:
            with _attempts(ATTEMPT_SECONDS):
                yield
        finally:
            self._patience = before

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Inside, nothing waits for a store that is away."""
        before, self._hurried = self._hurried, True
        is_server = self._uri.startswith("http")
        try:
            if is_server and (self._is_away.is_set() or not self._answers()):
                raise TrackerAwayError(f"{hide_secrets(self._uri)} does not answer")
            with _attempts(HURRIED_SECONDS):
                yield
        except TrackerAwayError:
            if is_server and not self._is_away.is_set():
                self._is_away.set()
                threading.Thread(target=self._look_for_it, name="tracking server", daemon=True).start()
            raise
        finally:
            self._hurried = before

    def _once(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Make a call, and before each further attempt look whether an earlier one has done it."""
        call, made = getattr(self._client, name), MADE[name]
        given = signature(call).bind(*args, **kwargs)
        if name in MARKED:
            given.arguments["tags"] = {**(given.arguments.get("tags") or {}), START: uuid.uuid4().hex}
        attempts = 0

        def attempt() -> Any:
            nonlocal attempts
            attempts += 1
            found = made(self._client, given.arguments) if attempts > 1 else None
            return call(*given.args, **given.kwargs) if found is None else found

        return self._outlast(attempt)

    def _look_for_it(self) -> None:
        while not self._answers():
            time.sleep(PAUSE_SECONDS)
        self._is_away.clear()

    def _answers(self) -> bool:
        """Whether the server answers anything in a moment; it is asked as MLflow asks it, with user and token."""
        ask: Any = http_request  # untyped
        credentials: Any = get_default_host_creds
        try:
            ask(
                credentials(self._uri.rstrip("/")),
                "/health",
                "GET",
                timeout=GLANCE_SECONDS,
                max_retries=0,
                raise_on_status=False,
            )
        except (MlflowException, requests.RequestException):
            return False
        return True

    def _outlast(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def is_waited_for(error: Exception) -> bool:
            away = is_away(error, self._uri)
            if away and self._hurried:
                raise TrackerAwayError(hide_secrets(" ".join(str(error).split()))) from error
            return away

        return retry(
            lambda: call(*args, **kwargs), is_waited_for, "tracking store", hide_secrets(self._uri), self._patience
        )


@contextmanager
def _attempts(seconds: float) -> Iterator[None]:
    """Inside, one request to a server may take so long, or less if the user says so."""
    limit = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(min(int(seconds), int(limit)))
    try:
        yield
    finally:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = limit


def is_away(error: Exception, uri: str) -> bool:
    """Whether an error of MLflow's says that its store does not answer at present."""
    if not isinstance(error, MlflowException | requests.RequestException | DBAPIError):
        return False
    if is_no_space(error) or isinstance(error, InvalidUrlException):
        return False
    if uri.startswith("sqlite"):
        return "database is locked" in str(error)
    if isinstance(error, OperationalError | InterfaceError):  # MLflow does not translate what its rollbacks raise
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.RequestException):
            return cause.response is None or cause.response.status_code >= 500
        if isinstance(cause, MlflowException) and cause.error_code == "TEMPORARILY_UNAVAILABLE":
            return True
        cause = cause.__cause__ or cause.__context__
    return False

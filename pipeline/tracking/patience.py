"""MLflow's client, which outlasts a tracking store that does not answer for a while."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # it is this client that calls again
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines, and two requests, for each run

import mlflow
import requests
from mlflow.entities import Run, ViewType
from mlflow.exceptions import InvalidUrlException, MlflowException
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from pipeline.errors import hide_secrets
from pipeline.files import is_no_space
from pipeline.outages import TrackerAwayError, outlast

PAUSE_SECONDS = 1.0
"""Between two looks at a server that is away."""
HURRIED_SECONDS = 1
"""How long one call may take where nothing is to wait."""
GLANCE_SECONDS = 0.5
"""How long a server may take to say that it is there, where nothing is to wait."""
START = "start_id"
"""Tag by which a run is found whose making was not answered."""


class PatientClient:
    """`mlflow.MlflowClient`, whose calls are made again when the store was away and is back.

    Raises StageError when it stays away for too long (see `pipeline.outages`), and where nothing is to wait
    TrackerAwayError at once: a server that was away once is looked for beside all else, so that nothing waits for it
    twice.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = mlflow.MlflowClient(uri)
        self._hurried = False
        self._is_away = threading.Event()
        """Set while a server that did not answer is looked for."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return partial(self._outlast, attribute) if callable(attribute) else attribute

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Inside, nothing waits for a store that is away."""
        before, limit = self._hurried, os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
        self._hurried = True
        try:
            if self._uri.startswith("http"):
                if self._is_away.is_set() or not self._answers():
                    raise TrackerAwayError(f"{hide_secrets(self._uri)} does not answer")
                os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(min(HURRIED_SECONDS, int(limit)))
            yield
        except TrackerAwayError:
            if self._uri.startswith("http") and not self._is_away.is_set():
                self._is_away.set()
                threading.Thread(target=self._look_for_it, name="tracking server", daemon=True).start()
            raise
        finally:
            self._hurried = before
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = limit

    def create_once(self, experiment: str, began: int | None, tags: dict[str, str], name: str) -> Run:
        """Make a run, once, even if the first answer is lost."""
        tags = {**tags, START: uuid.uuid4().hex}
        attempts = 0

        def create() -> Run:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                condition = f"tags.{START} = '{tags[START]}'"
                for run in self._client.search_runs([experiment], condition, ViewType.ACTIVE_ONLY):
                    return run
            return self._client.create_run(experiment, began, tags, name)

        made: Run = self._outlast(create)
        return made

    def _look_for_it(self) -> None:
        while not self._answers():
            time.sleep(PAUSE_SECONDS)
        self._is_away.clear()

    def _answers(self) -> bool:
        """Whether the server answers anything in a moment."""
        try:
            with urllib.request.urlopen(f"{self._uri.rstrip('/')}/health", timeout=GLANCE_SECONDS):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _outlast(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def is_waited_for(error: Exception) -> bool:
            away = is_away(error, self._uri)
            if away and self._hurried:
                raise TrackerAwayError(hide_secrets(" ".join(str(error).split()))) from error
            return away

        return outlast(lambda: call(*args, **kwargs), is_waited_for, "tracking store", hide_secrets(self._uri))


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

"""Waiting for a store that does not answer for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.base.errors import StageError, hide_secrets

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 600
"""How long a store may be away while a stage waits for it."""
PAUSE_SECONDS = 0.5
"""Between two attempts to reach it."""
MAX_REASON = 200
"""Characters of a driver's error that are shown."""

Result = TypeVar("Result")


class TrackerAwayError(Exception):
    """The tracking store does not answer at present, and is not waited for."""


class StillAwayError(StageError):
    """A store has not answered in all the time for which it was waited for; `reason` is what went wrong last."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def retry(
    call: Callable[[], Result],
    is_away: Callable[[Exception], bool],
    store: str,
    place: str,
    patience: float | None = None,
) -> Result:
    """What a call returns, which is made again as long as it raises what `is_away` says of its store; so it must bear
    repeating. Any other error is raised.

    Raises StillAwayError when the store, which people know by this name and place, stays away for `patience` seconds,
    `PATIENCE_SECONDS` if none are given.
    """
    longest = PATIENCE_SECONDS if patience is None else patience
    away_since = None
    while True:
        began = time.monotonic()
        try:
            result = call()
        except Exception as error:
            if not is_away(error):
                raise
            if away_since is None:
                away_since = began
                log.warning("the %s at %s does not answer; it is waited for", store, place)
            if time.monotonic() - away_since > longest:
                reason = _reason(error)
                raise StillAwayError(
                    f"the {store} must answer within {longest:g} seconds, but {place} does not ({reason}); "
                    f"start the same command again when it does: a search loses nothing that it has finished",
                    reason,
                ) from error
            time.sleep(PAUSE_SECONDS)
        else:
            if away_since is not None:
                log.warning("the %s answers again", store)
            return result


def _reason(error: BaseException) -> str:
    """What was wrong in the first place: a refused connection, say, and not the request that it was refused for."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return hide_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:MAX_REASON]

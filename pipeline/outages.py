"""Waiting for a store that does not answer for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import StageError, hide_secrets

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


def outlast(call: Callable[[], Result], is_away: Callable[[Exception], bool], store: str, place: str) -> Result:
    """What a call returns, which is made again as long as it raises what `is_away` says of its store; so it must bear
    repeating. Any other error is raised.

    Raises StageError when the store, which people know by this name and place, stays away for `PATIENCE_SECONDS`.
    """
    away_since = None
    while True:
        try:
            result = call()
        except Exception as error:
            if not is_away(error):
                raise
            if away_since is None:
                away_since = time.monotonic()
                log.warning("the %s at %s does not answer; it is waited for", store, place)
            if time.monotonic() - away_since > PATIENCE_SECONDS:
                reason = hide_secrets(" ".join(str(error).split()))[:MAX_REASON]
                raise StageError(
                    f"the {store} must answer within {PATIENCE_SECONDS} seconds, but {place} does not ({reason}); "
                    f"start the same command again when it does: a search loses nothing that it has finished"
                ) from error
            time.sleep(PAUSE_SECONDS)
        else:
            if away_since is not None:
                log.warning("the %s answers again", store)
            return result

"""How often Python looks for garbage."""

from __future__ import annotations

import atexit
import gc


def collect_seldom() -> None:
    """Look less often, and not at all when the process ends.

    Importing torch and MLflow makes millions of objects that live as long as the process: with Python's own threshold
    the collector walks them again and again, for a third of a short command's time.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)

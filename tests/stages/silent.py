from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from pipeline.stages.stage import Progress


class Silent:
    """A reporter for nobody."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def update(self, done: float, note: str = "") -> None:
        """Show nothing."""

    def progress(self, label: str, total: float) -> AbstractContextManager[Progress]:
        """Show nothing."""
        return nullcontext(self)

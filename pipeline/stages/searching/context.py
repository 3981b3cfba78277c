"""What the parts of a search work with."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.data.dataset import Splits
from pipeline.models.variant import Variant
from pipeline.stages.searching.clock import Clock
from pipeline.stages.searching.config import SearchConfig
from pipeline.stages.stage import Reporter
from pipeline.tracking.port import Run, Tracker
from pipeline.training.pool import Trainer
from pipeline.tuning.dashboard import StudyPages
from pipeline.tuning.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class SearchContext:
    """One start of a search: what it is told, who trains, and where it is recorded."""

    config: SearchConfig
    variant: Variant
    splits: Splits
    ledger: Ledger
    """The study."""
    pages: StudyPages
    """The study's notes and files in the dashboard."""
    tracker: Tracker
    run: Run
    """The search's own run."""
    trainer: Trainer
    clock: Clock
    reporter: Reporter

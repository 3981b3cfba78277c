"""What the command line and lists of runs need to know of this task; nothing heavy is imported for it."""

from __future__ import annotations

from pipeline.data.config import DataOption

POOLING = DataOption(
    name="pooling", default="average", choices=("average", "max"), help="28x28 to 14x14: average or max."
)
"""Report 000 does not say which; report 002 used max."""
DATA_OPTIONS = {POOLING.name: POOLING}
FACTOR_TITLES = {"ws": "weight sharing", "al": "auxiliary loss"}

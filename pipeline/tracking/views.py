"""Lists of runs that MLflow's user interface offers under *Views*, each with its filter, order and columns."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

TAG = "mlflow.sharedViewState."
"""Of an experiment: where the user interface keeps a saved view, with the view's id."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A list of runs."""

    id: str
    name: str
    role: str
    order: str
    """The metric by which they are ordered, the least first."""
    columns: Sequence[str]
    """Metrics and params, such as `metrics.final_test_error`."""

    @property
    def tag(self) -> tuple[str, str]:
        """As the user interface writes it itself: JSON, whose state is deflated."""
        columns = [_column(name) for name in self.columns]
        state = {
            "searchFilter": f"tags.role = '{self.role}'",
            "orderByKey": f"metrics.`{self.order}`",
            "orderByAsc": True,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": columns,
            "columnOrder": columns,
            "columnWidths": {column: 8 * len(column) for column in columns},
            "runsHiddenMode": "FIRST_20_RUNS",
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        saved = {"name": self.name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
        return TAG + self.id, json.dumps(saved)


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"


DATA = "attributes.Dataset"
CONFIGURATION = ("params.lr", "params.batch_size", "params.epochs", "params.alpha", "params.optimiser")


def views(factors: Sequence[str]) -> tuple[View, ...]:
    """Those of every experiment of ours; the first one says which variant is best."""
    grouping = ("params.arch", *(f"params.{factor}" for factor in factors))
    error = "final_test_error"
    return (
        View(
            id="variantlab-best",
            name="Which variant is best",
            role="summary",
            order=error,
            columns=(
                *("metrics.rank", f"metrics.{error}", f"metrics.{error}_low", f"metrics.{error}_high"),
                *("metrics.behind_best", "metrics.parameters", "metrics.seconds_per_epoch", *grouping, DATA),
            ),
        ),
        View(
            id="variantlab-evaluations",
            name="All evaluations",
            role="evaluate",
            order=error,
            columns=(f"metrics.{error}", "metrics.cv_optimism", *grouping, *CONFIGURATION, DATA),
        ),
        View(
            id="variantlab-trials",
            name="All trials",
            role="trial",
            order="cv_validation_error",
            columns=("metrics.cv_validation_error", "params.model", *CONFIGURATION),
        ),
    )

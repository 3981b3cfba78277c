"""A person's variant as runs keep it, so that it can be compared where its code and its data are not at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pipeline.data.dataset import Batch
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.models.metrics import Metric, Predictions, Unit
from pipeline.models.objectives import CrossEntropy
from pipeline.models.variant import Variant


def to_text(variant: Variant) -> str:
    """All that a comparison needs to know, as JSON."""
    unit = ("symbol", "scale", "form", "points")
    content = {
        **{name: getattr(variant, name) for name in ("name", "family", "task", "title", "reference", "code")},
        "factors": dict(variant.factors),
        "metrics": [
            [metric.name, metric.direction, *(getattr(metric.unit, part) for part in unit)]
            for metric in variant.metrics
        ],
        "preset": variant.preset.as_dict(),
        "fixed": sorted(variant.fixed),
        "input_shape": variant.input_shape,
    }
    return json.dumps(content)


def code_of(tags: Mapping[str, str]) -> str:
    """The digest of the code that a run was made with; empty for a variant of the registry."""
    code: str = json.loads(tags["variant"])["code"] if "variant" in tags else ""
    return code


def from_text(text: str) -> Variant:
    """What `to_text` wrote; it knows what a variant is called and measured by, but cannot be trained."""
    content: dict[str, Any] = json.loads(text)
    preset = Hyperparameters.of(content["preset"])
    return Variant(
        **{name: content[name] for name in ("name", "family", "task", "title", "reference", "code", "factors")},
        objective=CrossEntropy(),
        metrics=tuple(Metric(name, _unknown, Unit(*unit), way) for name, way, *unit in content["metrics"]),
        input_shape=tuple(content["input_shape"]),
        preset=preset,
        options=tuple(
            Option(name=name, meaning="", kind=type(value), default=value) for name, value in preset.structure
        ),
        fixed=frozenset(content["fixed"]),
        make=_untrainable,
        foreign=True,
    )


def _unknown(_predictions: Predictions, _batch: Batch) -> Tensor:
    raise NotImplementedError("the metric of a recorded variant is a name with a unit; it measures nothing")


def _untrainable(**_options: object) -> nn.Module:
    raise NotImplementedError("a recorded variant is a name with what was measured; it cannot be built")

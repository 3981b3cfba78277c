"""Which of my model variants is better, by how much, and can I make that figure again?

    import variantlab as vl

    lab = vl.Lab(vl.data.arrays(X, y), task="classification")
    lab.search(Wide, space={"lr": vl.Float(1e-4, 1e-1, log=True), "width": [32, 64, 128]}, n_trials=30)
    lab.evaluate(Wide)
    lab.evaluate(Narrow)
    print(lab.compare())

Importing this loads nothing but the version; every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pipeline import __version__

if TYPE_CHECKING:
    from pipeline.data.labelled import Labelled
    from pipeline.data.source import Source
    from pipeline.models.metrics import Metric
    from pipeline.models.own.definition import Definition, definitions_of
    from pipeline.models.own.factors import factors
    from pipeline.reports.contrasts import Verdict
    from pipeline.stages.stage import StageResult as Result
    from pipeline.tasks.api import Task
    from pipeline.tuning.dimensions import FloatRange as Float
    from pipeline.tuning.dimensions import IntRange as Int
    from variantlab import data
    from variantlab.lab import Lab

_WHERE = {
    "Definition": ("pipeline.models.own.definition", "Definition"),
    "Float": ("pipeline.tuning.dimensions", "FloatRange"),
    "Int": ("pipeline.tuning.dimensions", "IntRange"),
    "Lab": ("variantlab.lab", "Lab"),
    "Labelled": ("pipeline.data.labelled", "Labelled"),
    "Metric": ("pipeline.models.metrics", "Metric"),
    "Result": ("pipeline.stages.stage", "StageResult"),
    "Source": ("pipeline.data.source", "Source"),
    "Task": ("pipeline.tasks.api", "Task"),
    "Verdict": ("pipeline.reports.contrasts", "Verdict"),
    "data": ("variantlab.data", ""),
    "definitions_of": ("pipeline.models.own.definition", "definitions_of"),
    "factors": ("pipeline.models.own.factors", "factors"),
}
"""Name -> the module that defines it, and what it is called there; empty for the module itself."""

__all__ = [
    "Definition",
    "Float",
    "Int",
    "Lab",
    "Labelled",
    "Metric",
    "Result",
    "Source",
    "Task",
    "Verdict",
    "__version__",
    "data",
    "definitions_of",
    "factors",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Lab":
        from pipeline.base.garbage import collect_seldom
        from pipeline.training.processes import warm_up

        collect_seldom()
        warm_up()  # its workers import PyTorch while this process does
    module, called = _WHERE[name]
    found = import_module(module)
    return getattr(found, called) if called else found


def __dir__() -> list[str]:
    return __all__

"""Points and the network that tells which of them are inside of the disc."""

from __future__ import annotations

from pipeline.data.dataset import Samples, Splits
from pipeline.data.source import Source
from pipeline.models.metrics import ERROR
from pipeline.models.objectives import CrossEntropy
from pipeline.reports.tables import class_table
from pipeline.tasks.api import Task, Terms, Views
from pipeline.tasks.disc.family import VARIANTS
from pipeline.tasks.disc.points import disc_splits


def inside(samples: Samples) -> float:
    """The share of points that are."""
    return float(samples["target"].mean())


def views() -> Views:
    """Points, and those on the wrong side of the circle."""
    from pipeline.tasks.disc.pictures import errors, sample_picture

    return Views(
        composition=lambda splits: class_table(splits, ["outside", "inside"]),
        shares={"inside": inside},
        samples=sample_picture,
        errors=errors,
    )


def terms(_splits: Splits) -> Terms:
    """A score for outside and one for inside."""
    title = VARIANTS[0].title
    return Terms(title=title, learned="points", objective=CrossEntropy(), outputs=2, classes=2, metrics=(ERROR,))


TASK = Task(
    name="disc",
    datasets={"disc": Source(load=disc_splits, constants={"pooling": "average"}, samples=1000)},
    variants=VARIANTS,
    metrics=(ERROR,),
    views=views,
    terms=terms,
)

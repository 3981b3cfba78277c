"""Pictures of results, readable in grey and labelled with units.

That of ranks is in a module of its own, `ranks`: it needs seconds to import, and only a comparison draws it.
"""

from pipeline.reports.figures.comparisons import Interval, box_plot, forest_plot
from pipeline.reports.figures.compute import error_against_compute
from pipeline.reports.figures.curves import error_by_epoch, learning_curves, loss_by_family, loss_curve
from pipeline.reports.figures.searches import error_against, grid_heat_map, pareto_front, search_history

__all__ = [
    "Interval",
    "box_plot",
    "error_against",
    "error_against_compute",
    "error_by_epoch",
    "forest_plot",
    "grid_heat_map",
    "learning_curves",
    "loss_by_family",
    "loss_curve",
    "pareto_front",
    "search_history",
]

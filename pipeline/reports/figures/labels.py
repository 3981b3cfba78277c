"""Names beside the points of a picture, moved so that they do not cover one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

INCH, NEAR = 72.0, 14.0
"""Points of an inch, and how many points away a name needs no line that leads to it."""
MARKER = 4.0
"""Half the width of a marker with its margin, in points."""
HIDES, OUTSIDE = 100.0, 1e9
"""What it costs to hide a square point of a marker or a name, and to leave the axes; a square point of a line costs 1,
and so does a point of distance."""
Boxes = NDArray[np.float64]
"""Rectangles (N, 4) as left, bottom, right and top, in points."""


def write_beside(
    axis: Axes, points_ND: NDArray[np.float64], names: Sequence[str], lines_ND: Boxes, size: float
) -> None:
    """Each name near its point, where it covers least of the markers, of the lines and of the names before it.

    Points and lines, along x or y, are in units of the data; the axis must have its limits and its place in the figure.
    """
    scale = INCH / axis.figure.dpi
    point_ND = scale * axis.transData.transform(points_ND)
    line_ND = scale * axis.transData.transform(lines_ND.reshape(-1, 2)).reshape(-1, 4) + np.array([-1, -1, 1, 1])
    taken_ND = np.hstack([point_ND - MARKER, point_ND + MARKER])
    frame = scale * np.asarray(axis.bbox.extents)
    for name, data, point in zip(names, points_ND, point_ND, strict=True):
        offset_CD = _offsets(_width(name, size), size)
        box_CD = np.hstack([point, point]) + offset_CD
        outside_C = (box_CD[:, :2] < frame[:2]).any(axis=1) | (box_CD[:, 2:] > frame[2:]).any(axis=1)
        covered_C = HIDES * _covered(box_CD, taken_ND) + _covered(box_CD, line_ND)
        best = np.argmin(covered_C + _distance(offset_CD) + OUTSIDE * outside_C)
        taken_ND = np.vstack([taken_ND, box_CD[best]])
        _write(axis, name, data, offset_CD[best], size)


def _width(name: str, size: float) -> float:
    return 1.08 * float(TextPath((0, 0), name, size=size).get_extents().width)  # few pixels an inch make it wider


def _offsets(width: float, height: float) -> Boxes:
    """Boxes to try around a point at the origin; of those as near, the one to the right is the first."""
    boxes = []
    for distance in np.arange(MARKER + 2, 90, 3):
        for angle in np.radians([0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90]):
            across, up = np.cos(angle), np.sin(angle)
            left = distance * across + width * (across - 1) / 2
            bottom = distance * up + height * (up - 1) / 2
            boxes.append([left, bottom, left + width, bottom + height])
    return np.array(boxes)


def _covered(box_CD: Boxes, taken_ND: Boxes) -> NDArray[np.float64]:
    """The area (C,) of each box that is taken."""
    low = np.maximum(box_CD[:, None, :2], taken_ND[None, :, :2])
    high = np.minimum(box_CD[:, None, 2:], taken_ND[None, :, 2:])
    area_CN = np.clip(high - low, 0, None).prod(axis=2)
    return np.asarray(area_CN.sum(axis=1))


def _distance(box_CD: Boxes) -> NDArray[np.float64]:
    """From the origin to each box (C,)."""
    return np.asarray(np.hypot(*np.clip(0, box_CD[:, :2], box_CD[:, 2:]).T))


def _write(axis: Axes, name: str, point: NDArray[np.float64], box: NDArray[np.float64], size: float) -> None:
    leads = _distance(box[None])[0] > NEAR
    axis.annotate(
        name,
        tuple(point),
        xytext=(box[0], (box[1] + box[3]) / 2),
        textcoords="offset points",
        va="center",
        fontsize=size,
        arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.6, "shrinkA": 0} if leads else None,
    )

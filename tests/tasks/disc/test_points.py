from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import InputError
from pipeline.data.config import DataConfig
from pipeline.data.dataset import Splits
from pipeline.tasks.disc.points import CENTRE, RADIUS, PointSet, disc_splits
from pipeline.tasks.subjects import load_splits
from tests.data.splits import points

DISC_SHA256 = "0ceb50194a987c4220257962797f48b7613d6ef4f40fd179272d701d0529db5e"

CONFIG = DataConfig(dataset="disc", cache_dir=Path("unused"))
GRID = 5
"""Cells along each side of the square."""


@pytest.fixture(scope="module")
def disc() -> Splits:
    return disc_splits(CONFIG)


def parts(splits: Splits) -> list[PointSet]:
    found = [part for part in (splits.train, splits.test) if isinstance(part, PointSet)]
    assert len(found) == 2
    return found


def test_points_are_uniform_in_the_unit_square(disc: Splits) -> None:
    for part in parts(disc):
        count = len(part)
        assert part.points_ND.min() >= 0
        assert part.points_ND.max() < 1
        assert part.points_ND.shape == (count, 2)
        column_N, row_N = (part.points_ND.T * GRID).astype(int)
        share = 1 / GRID**2
        points_in_cell = np.bincount(GRID * row_N + column_N, minlength=GRID**2)
        assert len(points_in_cell) == GRID**2
        assert np.abs(points_in_cell - share * count).max() < 5 * math.sqrt(count * share * (1 - share))


def test_a_point_is_inside_if_and_only_if_it_is_no_farther_from_the_centre_than_the_radius(disc: Splits) -> None:
    for part in parts(disc):
        assert set(part.labels_N.tolist()) == {0, 1}
        for (x, y), label in zip(part.points_ND[:2000].tolist(), part.labels_N[:2000].tolist(), strict=True):
            assert label == (math.dist((x, y), CENTRE) <= RADIUS)


def test_the_disc_lies_in_the_square_and_covers_half_of_it(disc: Splits) -> None:
    assert all(RADIUS < coordinate < 1 - RADIUS for coordinate in CENTRE)
    assert math.isclose(math.pi * RADIUS**2, 0.5)
    for part in parts(disc):
        assert abs(part.labels_N.mean() - 0.5) < 4 * math.sqrt(0.25 / len(part))


def test_training_and_test_points_differ(disc: Splits) -> None:
    train, test = (set(map(tuple, part.points_ND.tolist())) for part in parts(disc))
    assert train.isdisjoint(test)


def test_the_points_never_change_silently(disc: Splits) -> None:
    assert disc_splits(CONFIG).digest == disc.digest == DISC_SHA256


def test_points_hold_coordinates_and_whether_they_are_inside_but_no_digits() -> None:
    data = points(6)
    samples = data.gather(np.array([[5], [0], [3]], dtype=np.int32))
    np.testing.assert_array_equal(samples["x"], data.points_ND[[5, 0, 3]])
    assert samples["target"].tolist() == [1, 0, 1]
    assert samples.keys() == {"x", "target"}


def test_disc_is_a_dataset_that_needs_no_files(tmp_path: Path, disc: Splits) -> None:
    config = DataConfig(dataset="disc", cache_dir=tmp_path / "cache")
    splits = load_splits(config)
    assert (splits.name, splits.digest) == ("disc", disc.digest)
    assert not config.cache_dir.exists()
    with pytest.raises(InputError, match="--dataset disc takes no --data-dir, but got '/some/folder'"):
        load_splits(replace(config, data_dir="/some/folder"))

from __future__ import annotations

import itertools

import numpy as np

from pipeline.base.seeds import derive, numpy_generator

NAMES: list[tuple[int, tuple[str | int, ...]]] = [
    (0, ()),
    (1, ()),
    (0, ("pairs",)),
    (0, ("pairs", "train")),
    (0, ("train", "pairs")),
    (0, ("pairs train",)),
    (0, ("pairs", 1)),
    (0, ("pairs", "1")),
    (0, ("pairs", 1, 1)),
    (0, ("pairs", 11)),
]


def test_equal_names_give_equal_draws() -> None:
    first, second = (numpy_generator(3, "pairs", "round", 2).random(100) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_different_names_give_different_seeds_and_draws() -> None:
    assert len({derive(seed, *name) for seed, name in NAMES}) == len(NAMES)
    draws = [numpy_generator(seed, *name).random(20) for seed, name in NAMES]
    for one, other in itertools.combinations(draws, 2):
        assert not np.intersect1d(one, other).size


def test_draws_do_not_depend_on_the_order_in_which_they_are_made() -> None:
    forwards = {name: numpy_generator(0, name).random(5).tolist() for name in ("a", "b", "c")}
    backwards = {name: numpy_generator(0, name).random(5).tolist() for name in ("c", "b", "a")}
    assert forwards == backwards


def test_seeds_are_63_bit() -> None:
    seeds = [derive(0, index) for index in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) >= 2**62


def test_seeds_never_change_silently() -> None:
    assert derive(0, "pairs", "train", "round", 3) == 2243324755935984700
    assert numpy_generator(0, "pairs").integers(1000, size=5).tolist() == [893, 783, 91, 850, 807]

"""Augmented images, measured against torchvision's transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional
from torchvision import transforms

from pipeline.models.variant import AUGMENTATIONS
from pipeline.training.augmentation import FRAME, augment

BLACK = -0.5
OFFSETS = 2 * FRAME + 1
LIKELY = 1e-3
"""A sample as unlikely as this under the right distribution is taken for a wrong one."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(pairs: int) -> Tensor:
    """Noise, in which no two cuts are alike."""
    return torch.rand(pairs, 2, 14, 14, generator=generator(99))


def cuts(image: Tensor) -> dict[bytes, tuple[int, int, int]]:
    """Every image (14, 14) that may become of one, with its offsets and whether it is mirrored."""
    framed = functional.pad(image, (FRAME,) * 4, value=BLACK)
    found = {}
    for top, left in np.ndindex(OFFSETS, OFFSETS):
        cut = framed[top : top + 14, left : left + 14]
        for mirrored in (0, 1):
            found[(cut.flip(1) if mirrored else cut).numpy().tobytes()] = (top, left, mirrored)
    return found


def drawn(pairs: int) -> np.ndarray:
    """(N, 2, 3): offsets and mirroring that pairs of one image were given."""
    image = images(1)[0, 0]
    known = cuts(image)
    changed = augment(image.expand(pairs, 2, 14, 14), "crop_flip", BLACK, generator())
    return np.array([[known[one.numpy().tobytes()] for one in pair] for pair in changed])


def test_each_image_becomes_a_cut_of_its_own_framed_original_mirrored_or_not() -> None:
    originals = images(40)
    changed = augment(originals, "crop_flip", BLACK, generator())
    for original, one in zip(originals.flatten(0, 1), changed.flatten(0, 1), strict=True):
        assert one.numpy().tobytes() in cuts(original)


def test_every_cut_is_equally_likely() -> None:
    found = drawn(8000).reshape(-1, 3)
    counts = np.zeros((OFFSETS, OFFSETS, 2))
    np.add.at(counts, tuple(found.T), 1)
    assert counts.all()
    assert stats.chisquare(counts.ravel()).pvalue > LIKELY
    for axes in ((1, 2), (0, 2), (0, 1)):
        assert stats.chisquare(counts.sum(axes)).pvalue > LIKELY


@pytest.mark.parametrize("what", [0, 1, 2], ids=["top", "left", "mirrored"])
def test_both_images_of_a_pair_are_changed_each_for_itself(what: int) -> None:
    first, second = drawn(8000)[..., what].T
    table = np.zeros((first.max() + 1,) * 2)
    np.add.at(table, (first, second), 1)
    assert stats.chi2_contingency(table).pvalue > LIKELY


def test_the_mean_image_is_that_of_torchvisions_transforms() -> None:
    image = images(1)[0, 0]
    count = 5000
    ours = augment(image.expand(count, 2, 14, 14), "crop_flip", BLACK, generator()).flatten(0, 1)
    theirs = torch.stack([by_torchvision(image, generator(seed)) for seed in range(count)])
    error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
    z = (ours.mean(0) - theirs.mean(0)) / error
    assert z.abs().max() < 5
    assert 0.5 < z.square().mean() < 1.5


def by_torchvision(image: Tensor, named: torch.Generator) -> Tensor:
    """What report 002 does; torchvision draws from torch's global generator, which is put back."""
    change = transforms.Compose(
        [transforms.RandomCrop(14, padding=FRAME, fill=BLACK), transforms.RandomHorizontalFlip(0.5)]
    )
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(named.get_state())
        changed: Tensor = change(image[None])[0]
    return changed


def test_torchvisions_cuts_are_the_same_ones() -> None:
    image = images(1)[0, 0]
    known = cuts(image)
    assert {known[by_torchvision(image, generator(seed)).numpy().tobytes()] for seed in range(3000)} == set(
        known.values()
    )


def test_what_lies_outside_of_the_image_is_background() -> None:
    changed = augment(torch.ones(500, 2, 14, 14), "crop_flip", BLACK, generator())
    assert set(changed.flatten().tolist()) == {1.0, BLACK}
    assert (changed == BLACK).flatten(1).any(1).float().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_type_and_original_are_kept(name: str, dtype: torch.dtype) -> None:
    originals = images(5).to(dtype)
    before = originals.clone()
    changed = augment(originals, name, BLACK, generator())
    assert (changed.shape, changed.dtype) == (originals.shape, dtype)
    assert torch.equal(originals, before)


def test_equal_generators_give_equal_images_and_go_on_to_others() -> None:
    one, other = generator(3), generator(3)
    first = augment(images(5), "crop_flip", BLACK, one)
    assert torch.equal(first, augment(images(5), "crop_flip", BLACK, other))
    again = augment(images(5), "crop_flip", BLACK, one)
    assert not torch.equal(first, again)
    assert torch.equal(again, augment(images(5), "crop_flip", BLACK, other))
    assert not torch.equal(first, augment(images(5), "crop_flip", BLACK, generator(4)))


def test_without_augmentation_nothing_is_changed_or_drawn() -> None:
    unused = generator()
    before = unused.get_state()
    assert torch.equal(augment(images(5), "none", BLACK, unused), images(5))
    assert torch.equal(unused.get_state(), before)

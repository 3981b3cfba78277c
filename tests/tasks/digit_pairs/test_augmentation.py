"""Augmented images, measured against torchvision's transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate as torchvisions_rotate

from pipeline.data.dataset import Batch
from pipeline.data.rounds import draw_samples
from pipeline.tasks.digit_pairs.augmentation import DEGREES, FRAME, crop_flip, rotate
from pipeline.tasks.digit_pairs.dataset import DigitSet
from pipeline.tasks.digit_pairs.networks import TRANSFORMS
from pipeline.tasks.registry import get_variant
from pipeline.training.chunk import ChunkTraining
from pipeline.training.plan import Job, Replica, compose_chunks
from pipeline.training.step import NetworkStep

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
    changed = crop_flip(image.expand(pairs, 2, 14, 14), BLACK, generator())
    return np.array([[known[one.numpy().tobytes()] for one in pair] for pair in changed])


def test_each_image_becomes_a_cut_of_its_own_framed_original_mirrored_or_not() -> None:
    originals = images(40)
    changed = crop_flip(originals, BLACK, generator())
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


CROP_FLIP = transforms.Compose(
    [transforms.RandomCrop(14, padding=FRAME, fill=BLACK), transforms.RandomHorizontalFlip(0.5)]
)
"""What report 002 does."""


def by_torchvision(image: Tensor, change: Callable[[Tensor], Tensor], named: torch.Generator) -> Tensor:
    """One changed image (14, 14); torchvision draws from torch's global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(named.get_state())
        return change(image[None])[0]


def test_the_mean_image_is_that_of_torchvisions_transforms() -> None:
    image = images(1)[0, 0]
    count = 5000
    ours = crop_flip(image.expand(count, 2, 14, 14), BLACK, generator()).flatten(0, 1)
    theirs = torch.stack([by_torchvision(image, CROP_FLIP, generator(seed)) for seed in range(count)])
    z = differences(ours, theirs)
    assert z.abs().max() < 5
    assert 0.5 < z.square().mean() < 1.5


def differences(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean of our images less the mean of theirs, in standard errors."""
    error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
    return (ours.mean(0) - theirs.mean(0)) / error


def test_torchvisions_cuts_are_the_same_ones() -> None:
    image = images(1)[0, 0]
    known = cuts(image)
    assert {known[by_torchvision(image, CROP_FLIP, generator(seed)).numpy().tobytes()] for seed in range(3000)} == set(
        known.values()
    )


def test_what_lies_outside_of_the_image_is_background() -> None:
    changed = crop_flip(torch.ones(500, 2, 14, 14), BLACK, generator())
    assert set(changed.flatten().tolist()) == {1.0, BLACK}
    assert (changed == BLACK).flatten(1).any(1).float().mean() > 0.9


def ramps(pairs: int) -> Tensor:
    """Images that grow by 1 from column to column; interpolation between equal steps is exact."""
    return torch.arange(14, dtype=torch.float64).expand(pairs, 2, 14, 14)


def angles(turned: Tensor) -> Tensor:
    """(N, 2): the degrees by which ramps were turned to the left, read from their slopes at the centre."""
    to_the_right = turned[..., 7, 7] - turned[..., 7, 6]
    downwards = turned[..., 7, 7] - turned[..., 6, 7]
    return torch.rad2deg(torch.atan2(-downwards, to_the_right))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_image_is_turned_as_torchvision_turns_it(dtype: torch.dtype) -> None:
    originals = images(40).to(dtype)
    turned = rotate(originals, BLACK, generator())
    drawn = angles(rotate(ramps(40), BLACK, generator()))
    assert len(drawn.unique()) == 80
    for original, one, degrees in zip(originals.flatten(0, 1), turned.flatten(0, 1), drawn.flatten(), strict=True):
        theirs = torchvisions_rotate(original[None] - BLACK, degrees.item(), InterpolationMode.BILINEAR)[0] + BLACK
        assert torch.allclose(one, theirs, rtol=0, atol=1e-5)


def test_a_greater_number_turns_an_image_further_to_the_left() -> None:
    drawn = angles(rotate(ramps(40), BLACK, generator())).flatten()
    numbers = torch.rand(80, generator=generator(), dtype=torch.float32)
    assert torch.allclose(drawn, DEGREES * (2 * numbers - 1).double(), rtol=0, atol=1e-5)


def test_images_need_not_be_square() -> None:
    originals = torch.rand(3, 2, 14, 20, generator=generator(99))
    drawn = angles(rotate(ramps(3), BLACK, generator()))
    expected = [
        torchvisions_rotate(original[None] - BLACK, degrees.item(), InterpolationMode.BILINEAR)[0] + BLACK
        for original, degrees in zip(originals.flatten(0, 1), drawn.flatten(), strict=True)
    ]
    turned = rotate(originals, BLACK, generator())
    assert torch.allclose(turned.flatten(0, 1), torch.stack(expected), rtol=0, atol=1e-5)


def test_every_angle_is_equally_likely() -> None:
    drawn = angles(rotate(ramps(8000), BLACK, generator())).flatten()
    assert drawn.abs().max() <= DEGREES + 1e-5
    assert stats.kstest(drawn, stats.uniform(-DEGREES, 2 * DEGREES).cdf).pvalue > LIKELY


def test_both_images_of_a_pair_are_turned_each_for_itself() -> None:
    first, second = angles(rotate(ramps(8000), BLACK, generator())).T
    table, *_ = np.histogram2d(first, second, bins=8, range=[[-DEGREES, DEGREES]] * 2)
    assert stats.chi2_contingency(table).pvalue > LIKELY


def test_the_mean_turned_image_is_that_of_torchvisions_transform() -> None:
    # Given a fill, torchvision weighs the outermost pixels twice where they meet the outside; there they are black.
    image = functional.pad(images(1)[0, 0, 1:-1, 1:-1], (1,) * 4, value=BLACK)
    change = transforms.RandomRotation(DEGREES, InterpolationMode.BILINEAR, fill=0)
    count = 5000
    ours = rotate(image.expand(count, 2, 14, 14), BLACK, generator()).flatten(0, 1)
    theirs = torch.stack([by_torchvision(image - BLACK, change, generator(seed)) for seed in range(count)]) + BLACK
    changing = theirs.var(0) > 1e-9
    assert torch.allclose(ours[:, ~changing], torch.tensor(BLACK))
    assert changing.sum() > 14 * 14 - 10
    z = differences(ours, theirs)[changing]
    assert z.abs().max() < 5
    assert z.square().mean() < 2.5  # one angle moves all pixels, so that there are fewer scores than pixels


def test_what_is_turned_in_from_outside_is_background() -> None:
    turned = rotate(torch.ones(500, 2, 14, 14), BLACK, generator())
    assert turned.min() >= BLACK - 1e-5
    assert turned.max() <= 1 + 1e-5
    assert torch.allclose(turned[..., 3:-3, 3:-3], torch.tensor(1.0))
    assert turned[..., 0, 0].min() == pytest.approx(BLACK)
    assert (turned[..., 0, 0] < 0.99).float().mean() > 0.9
    empty = torch.full((5, 2, 14, 14), BLACK)
    assert torch.equal(rotate(empty, BLACK, generator()), empty)


def test_turned_images_of_low_precision_are_the_rounded_ones() -> None:
    originals = images(40).bfloat16()
    turned = rotate(originals, BLACK, generator())
    assert torch.equal(turned, rotate(originals.float(), BLACK, generator()).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", TRANSFORMS.augmentations)
def test_shape_type_and_original_are_kept(name: str, dtype: torch.dtype) -> None:
    originals = images(5).to(dtype)
    before = originals.clone()
    changed = TRANSFORMS.augmentations[name](originals, BLACK, generator())
    assert (changed.shape, changed.dtype) == (originals.shape, dtype)
    assert torch.equal(originals, before)


@pytest.mark.parametrize("name", TRANSFORMS.augmentations)
def test_equal_generators_give_equal_images_and_go_on_to_others(name: str) -> None:
    augment, one, other = TRANSFORMS.augmentations[name], generator(3), generator(3)
    first = augment(images(5), BLACK, one)
    assert torch.equal(first, augment(images(5), BLACK, other))
    again = augment(images(5), BLACK, one)
    assert not torch.equal(first, again)
    assert torch.equal(again, augment(images(5), BLACK, other))
    assert not torch.equal(first, augment(images(5), BLACK, generator(4)))


@pytest.mark.parametrize("name", TRANSFORMS.choices["augmentation"])
def test_images_are_changed_and_numbers_drawn_only_where_an_augmentation_is_chosen(
    name: str, train_digits: DigitSet, held_out_digits: DigitSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = get_variant("linear_digits")
    replica = Replica(
        seed=0,
        name=("test",),
        hyper=variant.preset.replaced({"augmentation": name, "epochs": 1, "batch_size": 60}),
        train=draw_samples("train", train_digits, 60, seed=0, round_=0),
        held_out=draw_samples("test", held_out_digits, 10, seed=0, round_=0),
    )
    [chunk] = compose_chunks([Job(variant=variant, replicas=(replica,))])
    training = ChunkTraining(chunk, train_digits, held_out_digits)
    seen: list[Tensor] = []

    def note(step: NetworkStep, batch: Batch) -> tuple[Tensor, Any]:
        seen.append(batch["x"])
        return step.evaluate(batch)

    monkeypatch.setattr(NetworkStep, "__call__", note)
    [unused] = training.augmentations
    before = unused.get_state()
    training.train_epoch(1)
    [shown] = seen
    given, learnt = (
        {image.numpy().tobytes() for image in x.flatten(0, 2)} for x in (training.train_samples.tensors["x"], shown)
    )
    assert (learnt == given) == (name == "none")
    assert torch.equal(unused.get_state(), before) == (name == "none")

"""Changed images: every epoch, each image of a replica is drawn anew from the replica's own generator.

Images are those of one replica (N, 2, H, W), changed each for itself; `black` is the value of the background.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FRAME = 4
"""Black pixels around an image before it is cut out anew."""
DEGREES = 10
"""An image is turned by no more than this, either way."""


def crop_flip(x_NCHW: Tensor, black: float, generator: torch.Generator) -> Tensor:
    """Report 002: torchvision's RandomCrop(H, padding=4) followed by RandomHorizontalFlip(0.5)."""
    images, (height, width) = x_NCHW.shape[:2].numel(), x_NCHW.shape[2:]
    framed = functional.pad(x_NCHW.flatten(0, 1), (FRAME,) * 4, value=black)
    top, left = torch.randint(0, 2 * FRAME + 1, (2, images, 1), generator=generator).to(x_NCHW.device)
    mirrored = torch.rand(images, 1, generator=generator).to(x_NCHW.device) < 0.5
    columns = torch.arange(width, device=x_NCHW.device).expand(images, -1)
    columns = left + torch.where(mirrored, columns.flip(1), columns)
    rows = top + torch.arange(height, device=x_NCHW.device)
    cut = framed[torch.arange(images, device=x_NCHW.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.view_as(x_NCHW)


def rotate(x_NCHW: Tensor, black: float, generator: torch.Generator) -> Tensor:
    """A wish of report 004, without an angle: RandomRotation(10, BILINEAR); background comes in from outside."""
    images, (height, width) = x_NCHW.shape[:2].numel(), x_NCHW.shape[2:]
    exact = torch.promote_types(x_NCHW.dtype, torch.float32)  # bfloat16 is too coarse for places
    drawn = 2 * torch.rand(images, 1, 1, generator=generator) - 1
    angle = torch.deg2rad(DEGREES * drawn.to(x_NCHW.device, exact))
    right = torch.arange(width, device=x_NCHW.device) - (width - 1) / 2
    down = torch.arange(height, device=x_NCHW.device)[:, None] - (height - 1) / 2
    # Counted from the centre, to the right and downwards: where each pixel of a picture turned to the left comes from.
    columns = angle.cos() * right - angle.sin() * down
    rows = angle.sin() * right + angle.cos() * down
    places = torch.stack([columns / (width / 2), rows / (height / 2)], dim=-1)
    # Outside of an image grid_sample sees zeros, which are background only while black is zero.
    bright = x_NCHW.flatten(0, 1)[:, None].to(exact) - black
    turned = functional.grid_sample(bright, places, mode="bilinear", padding_mode="zeros", align_corners=False) + black
    return turned.view_as(x_NCHW).to(x_NCHW.dtype)

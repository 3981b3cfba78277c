"""`folder`: images in folders that are named like their classes, as torchvision's `ImageFolder` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, InputError
from pipeline.base.files import given_path
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.options import TEST_SIZE

GREY, COLOUR = "L", "RGB"


def load(config: DataConfig) -> Labelled:
    """Images (N, C, H, W), of one channel if all are grey and else of three; `train/` and `test/` are its own parts.

    Raises InputError without a folder, and DataError where it has no images, or images of several sizes.
    """
    if not config.data_dir:
        raise InputError(
            "--dataset folder needs --data-dir, a folder with a folder of images for each class, but got none"
        )
    folder = given_path(config.data_dir)
    if not folder.is_dir():
        raise InputError(f"--data-dir must be a folder, but there is no {folder}")
    has_parts = (folder / "train").is_dir() and (folder / "test").is_dir()
    parts = [_listed(part) for part in ([folder / "train", folder / "test"] if has_parts else [folder])]
    paths = [path for part in parts for path, _ in part]
    return Labelled(
        name=folder.resolve().name,
        source=f"images in {folder.resolve()}",
        x=read_images(paths),
        target=np.array([label for part in parts for _, label in part]),
        test=np.repeat([False, True], [len(part) for part in parts]) if has_parts else None,
    )


def _listed(folder: Path) -> list[tuple[Path, str]]:
    """The images of a folder with their classes."""
    from torchvision.datasets import ImageFolder  # seconds to import

    try:
        found = ImageFolder(str(folder))
    except OSError as error:
        raise DataError(
            f"{folder} must hold a folder of images for each class, but {' '.join(str(error).split())}"
        ) from error
    return [(Path(path), found.classes[index]) for path, index in found.samples]


def read_images(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """The images (N, C, H, W) in these files. Raises DataError where one is damaged or of another size."""
    from PIL import Image

    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert(GREY if image.mode in ("1", GREY) else COLOUR)))
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{path} must be an image, but cannot be read as one: {error}") from error
        if images[-1].shape[:2] != images[0].shape[:2]:
            (first_h, first_w), (h, w) = images[0].shape[:2], images[-1].shape[:2]
            raise DataError(
                f"all images must be of one size, but {paths[0]} is {first_w}x{first_h} and {path} {w}x{h}; resize "
                f"them, for example with ImageMagick: mogrify -resize '{first_w}x{first_h}!' */*{path.suffix}"
            )
    return stacked(images)


def stacked(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Images (H, W) or (H, W, 3) of one size as (N, C, H, W): of one channel if all are grey, and else of three."""
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[:, None]
    coloured = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    return np.ascontiguousarray(np.stack(coloured).transpose(0, 3, 1, 2))


FOLDER = Source(load=load, options=(TEST_SIZE,), takes_folder=True)

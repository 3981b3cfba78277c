"""`npz`: arrays that NumPy has saved in one file."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.errors import DataError
from pipeline.data.arrays import named_arrays
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.options import DATA_FILE, IMPUTE, TEST_SIZE, impute_of
from pipeline.data.sources.tables import data_file


def load(config: DataConfig) -> Labelled:
    """Samples x and targets y, perhaps group, and perhaps x_test and y_test. Raises InputError and DataError."""
    path = data_file(config)
    found = named_arrays(_read(path), name=path.stem, impute=impute_of(config))
    return replace(found, source=str(path.resolve()))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(
                    f"{path} must hold arrays x and y, but holds a single one; use np.savez(path, x=x, y=y)"
                )
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        objects = "; save text as np.array(labels, dtype=str), not as objects" if "allow_pickle" in str(error) else ""
        raise DataError(
            f"{path} must be a file of np.savez with arrays of numbers or text, but it cannot be read as one "
            f"({' '.join(str(error).split())}){objects}"
        ) from error


NPZ = Source(load=load, options=(DATA_FILE, TEST_SIZE, IMPUTE))

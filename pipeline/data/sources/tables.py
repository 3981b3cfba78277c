"""`csv` and `parquet`: tables whose rows are samples, with a column to predict."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base.errors import DataError, InputError
from pipeline.base.files import given_path
from pipeline.data.columns import table
from pipeline.data.config import DataConfig
from pipeline.data.labelled import Labelled
from pipeline.data.source import Source
from pipeline.data.sources.options import DATA_FILE, FEATURES, GROUP, IMPUTE, TARGET, TEST_SIZE, impute_of

if TYPE_CHECKING:
    from pandas import DataFrame

SEPARATORS = ",;\t"


def load_csv(config: DataConfig) -> Labelled:
    """The rows of a text file whose first line has the names of the columns."""
    return _load(config, _read_csv)


def load_parquet(config: DataConfig) -> Labelled:
    """The rows of a Parquet file."""
    return _load(config, _read_parquet)


def data_file(config: DataConfig) -> Path:
    """The file that a person names. Raises InputError where there is none."""
    if not (text := DATA_FILE.of(config)):
        raise InputError(f"--dataset {config.dataset} needs --data-file, the file to read, but got none")
    path = given_path(text)
    if not path.is_file():
        raise InputError(f"--data-file must be a file, but there is no {path}")
    return path


def _load(config: DataConfig, read: Callable[[Path], DataFrame]) -> Labelled:
    path = data_file(config)
    try:
        frame = read(path)
    except (OSError, MemoryError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    frame.columns = [str(column) for column in frame.columns]
    if not len(frame):
        raise DataError(f"a table must have rows below the names of its columns, but {path} has none")
    return table(
        frame,
        name=path.stem,
        source=str(path.resolve()),
        target=TARGET.of(config),
        features=_names(FEATURES.of(config)),
        group=GROUP.of(config),
        impute=impute_of(config),
    )


def _names(text: str) -> list[str]:
    """The columns in `a,b,"c, d"`."""
    return [name.strip() for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip()]


def _read_csv(path: Path) -> DataFrame:
    from pandas import read_csv
    from pandas.errors import ParserError, ParserWarning

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(SEPARATORS, key=first.count)
            file.seek(0)
            _check_names(next(csv.reader(file, delimiter=separator, skipinitialspace=True), []), path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)
            frame: DataFrame = read_csv(
                path, sep=separator, encoding="utf-8-sig", skipinitialspace=True, index_col=False, low_memory=False
            )
            return frame
    except UnicodeDecodeError as error:
        raise DataError(f"a table must be text in UTF-8, but {path} is not; save it anew as CSV UTF-8") from error
    except (ParserError, ParserWarning, csv.Error) as error:
        said = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise DataError(
            f"each line of a table must have as many fields as the first one, which names the columns, but {path} has "
            f"not ({said}); put text that has commas in quotes"
        ) from error


def _check_names(names: Sequence[str], path: Path) -> None:
    """Raise DataError where the first line does not name the columns; pandas would invent names."""
    if not any(name.strip() for name in names):
        raise DataError(f"a table must begin with the names of its columns, but {path} begins with an empty line")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise DataError(f"columns must have different names, but {path} has two that are called {twice[0]}")


def _read_parquet(path: Path) -> DataFrame:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        frame: DataFrame = read_table(path).to_pandas()
    except ArrowException as error:
        raise DataError(f"{path} is not a whole Parquet file: {' '.join(str(error).split())}") from error
    names = [str(name) for name in frame.columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"columns must have different names, but {path} has two that are called {twice[0]}")
    return frame


OPTIONS = (DATA_FILE, TARGET, FEATURES, GROUP, TEST_SIZE, IMPUTE)
CSV = Source(load=load_csv, options=OPTIONS)
PARQUET = Source(load=load_parquet, options=OPTIONS)

"""What general data sets can be told on the command line; nothing heavy is imported for it."""

from __future__ import annotations

from pipeline.data.config import DataConfig, DataOption
from pipeline.data.imputation import IMPUTATIONS

SKLEARN, TORCHVISION = "sklearn:", "torchvision:"
"""What the names of the data sets of these libraries begin with."""
SKLEARN_NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Those with one target."""
REFUSE = "refuse"
DATA_FILE = DataOption(name="data_file", default="", help="File of --dataset csv, parquet or npz.")
TARGET = DataOption(name="target", default="", help="Column to predict, of a table.")
FEATURES = DataOption(name="features", default="", help="Columns to predict it from, as a,b,c; all others if not said.")
GROUP = DataOption(
    name="group", default="", help="Column whose equal values stay on the same side of every split, such as a patient."
)
TEST_SIZE = DataOption(
    name="test_size", default="0.25", help="Share of the samples held out for testing, where the data do not say which."
)
IMPUTE = DataOption(
    name="impute",
    default=REFUSE,
    choices=(REFUSE, *IMPUTATIONS),
    help="Missing numbers: refuse them, or fill them in from training samples.",
)
DATA_OPTIONS = {option.name: option for option in (DATA_FILE, TARGET, FEATURES, GROUP, TEST_SIZE, IMPUTE)}


def impute_of(config: DataConfig) -> str:
    """How missing numbers are filled in; empty where they are refused."""
    rule = IMPUTE.of(config)
    return "" if rule == REFUSE else rule

"""How missing numbers are filled in."""

from __future__ import annotations

from pipeline.base.errors import UnknownNameError

IMPUTATIONS = ("mean", "median", "most_frequent")
"""From what the training samples have in the same column."""


def check_imputation(rule: str) -> None:
    """Raise UnknownNameError with the near misses unless it is a rule, or empty for none."""
    if rule and rule not in IMPUTATIONS:
        raise UnknownNameError("impute", rule, IMPUTATIONS)

"""Metrics are shown with their units; that their values are right is tested with the tasks that have them."""

from __future__ import annotations

import math

from pipeline.models.metrics import ERROR, SHARE, Metric, Unit, share_of_wrong_R


def test_a_metric_is_called_by_its_name_in_words() -> None:
    assert Metric("digit_error", share_of_wrong_R).title == "digit error"
    assert (ERROR.name, ERROR.unit, ERROR.direction) == ("error", SHARE, "minimize")


def test_values_are_shown_with_their_unit_and_differences_with_their_sign() -> None:
    assert (SHARE.show(0.0989), SHARE.number(0.0989), SHARE.difference(-0.0125)) == ("9.89 %", "9.89", "-1.25")
    assert Unit("mm").show(3.14159) == "3.142 mm"
    assert Unit("").show(2.0) == "2"
    assert [SHARE.show(math.nan), SHARE.number(math.inf)] == ["-", "-"]
    assert [unit.suffix for unit in (SHARE, Unit("mm"), Unit(""))] == [" points", " mm", ""]

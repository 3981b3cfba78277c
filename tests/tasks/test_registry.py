"""Tasks, variants and data sets are found by name, and cost little to find."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline.base.errors import UnknownNameError
from pipeline.data.config import DataConfig
from pipeline.data.sources.options import DATA_OPTIONS
from pipeline.models.variant import Variant
from pipeline.tasks.registry import data_options, factor_names, task_of, tasks, variants
from pipeline.tasks.subjects import find_dataset
from tests.models.networks import every

LATE = ("matplotlib", "sklearn", "torchvision", "scipy.stats")
"""What only some stages need, and late."""
SCRIPT = """
import sys
{statement}
print(*(name for name in {modules} if name in sys.modules))
"""


def imported_by(statement: str, modules: tuple[str, ...]) -> list[str]:
    """Which of these modules a statement imports, in a process of its own."""
    script = SCRIPT.format(statement=statement, modules=modules)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_finding_a_variant_imports_nothing_that_draws_or_reads_data() -> None:
    statement = "from pipeline.tasks.registry import get_variant; import pipeline.stages.search; get_variant('mlp')"
    assert imported_by(statement, LATE) == []


def test_what_the_command_line_needs_of_tasks_imports_no_torch() -> None:
    statement = "from pipeline.tasks.registry import data_options, factor_names; data_options(); factor_names()"
    assert imported_by(statement, ("torch", *LATE)) == []


def test_options_are_those_of_data_sets_and_factors_are_declared() -> None:
    known = {option.name for task in tasks().values() for each in task.datasets.values() for option in each.options}
    assert set(data_options()) == known | DATA_OPTIONS.keys()
    assert set(factor_names()) == {name for task in tasks().values() for name in task.factor_titles}
    assert set(factor_names()) <= {name for variant in variants().values() for name in variant.factors}


@every()
def test_a_variant_is_of_one_task_and_can_be_sent_to_a_worker(variant: Variant) -> None:
    assert sum(variant in task.variants for task in tasks().values()) == 1
    sent = pickle.loads(pickle.dumps(variant))
    assert sent == variant
    assert hash(sent) == hash(variant)
    assert set(variant.metrics) <= set(task_of(variant).metrics)


def test_variants_of_a_family_have_the_same_factors_and_differ_in_a_level() -> None:
    families = Counter((variant.family, variant.task) for variant in variants().values())
    for family in families:
        members = [each for each in variants().values() if (each.family, each.task) == family]
        assert len({tuple(each.factors) for each in members}) == 1
        assert len({tuple(each.factors.items()) for each in members}) == len(members)


def test_an_unknown_data_set_is_named_with_near_misses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean diabetes"):
        find_dataset(DataConfig(dataset="diabets", cache_dir=Path()))

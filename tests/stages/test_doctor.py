"""What `doctor` says of packages: an extra that was not asked for is not missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.base.extras import EXTRAS
from pipeline.stages import doctor
from pipeline.stages.doctor import DoctorConfig
from tests.memory import MemoryTracker


@pytest.fixture
def config(tmp_path: Path) -> DoctorConfig:
    return DoctorConfig(storage=f"sqlite:///{tmp_path}/optuna.db", artifacts=str(tmp_path), cache_dir=tmp_path)


def test_what_an_extra_brings_may_be_absent(config: DoctorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in EXTRAS.values():
        monkeypatch.setitem(sys.modules, module, None)
    answer, well = doctor.run(config, MemoryTracker)
    assert well, answer.notes
    assert answer.table is not None
    found = {name: text for name, _, text in answer.table.rows}
    assert found["optuna-dashboard"] == "not installed, so studies are not shown; pip install 'variantlab[ui]'"


def test_a_package_of_the_base_may_not(config: DoctorConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\ndependencies = ['no-such-package', 'torch<1', 'numpy']\n"
        "[project.optional-dependencies]\nauth = []\npostgres = []\nui = []\n"
    )
    monkeypatch.setattr(doctor, "CHECKOUT", tmp_path)
    answer, well = doctor.run(config, MemoryTracker)
    assert not well
    [note] = [note for note in answer.notes if note.startswith("packages of Python")]
    assert note.endswith(": pip install -r requirements.txt")
    assert answer.table is not None
    said = answer.table.rows[0][2]
    assert said.startswith("no-such-package is missing; torch is ")
    assert said.endswith(", not <1")

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pipeline.base.errors import InputError
from pipeline.base.locks import machine_lock


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where locks are, in a folder for temporary files of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with machine_lock("first"):
        [folder] = tmp_path.iterdir()
    return folder


def test_nobody_else_can_see_the_locks(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(InputError, match="nobody else can write to"):
        machine_lock("second")


def test_a_link_that_somebody_has_put_there_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="nobody else can write to"):
        machine_lock("second")

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.viewers import why_no_dashboard


def test_studies_are_shown_where_there_are_some_by_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    assert why_no_dashboard(storage) == f"there are no studies in {storage} yet, so optuna-dashboard is not started"
    (tmp_path / "optuna.db").touch()
    assert why_no_dashboard(storage) == ""
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert why_no_dashboard(storage).endswith("is not installed: pip install 'variantlab[ui]'")
    with pytest.raises(InputError, match="--storage must be a database URL"):
        why_no_dashboard("studies")

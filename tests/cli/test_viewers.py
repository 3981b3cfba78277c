from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.base.errors import InputError
from pipeline.cli import viewers
from pipeline.cli.viewers import why_no_dashboard


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


@pytest.mark.parametrize(("installed", "is_safe"), [("3.16.0", False), ("3.16.1", True), ("3.20.0", True)])
def test_elsewhere_an_mlflow_that_sets_no_password_of_ones_own_is_refused(
    monkeypatch: pytest.MonkeyPatch, installed: str, is_safe: bool
) -> None:
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "a password of enough characters")
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "random")
    monkeypatch.setattr(viewers, "version", lambda _: installed)
    monkeypatch.setattr(viewers, "is_installed", lambda _: True)
    with nullcontext() if is_safe else pytest.raises(InputError, match=r"without MLflow 3\.16\.1 or newer"):
        viewers.check_host("127.0.0.2")

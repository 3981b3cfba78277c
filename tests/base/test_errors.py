from __future__ import annotations

import pytest

from pipeline.base.errors import (
    DataError,
    InputError,
    SpaceError,
    StageError,
    UnknownNameError,
    VariantlabError,
    hide_secrets,
    near_misses,
)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (VariantlabError("x"), 1),
        (InputError("x"), 2),
        (UnknownNameError("model", "x", ["a"]), 2),
        (SpaceError("space.yaml", 3, "x"), 2),
        (DataError("x"), 2),
        (StageError("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(error: VariantlabError, exit_code: int) -> None:
    assert error.exit_code == exit_code


def test_unknown_names_list_the_near_misses_alone() -> None:
    message = str(UnknownNameError("model", "mlp_wz", ["mlp", "mlp_ws", "convnet"]))
    assert message.startswith("unknown model 'mlp_wz'")
    assert "did you mean" in message
    assert "mlp_ws" in message
    assert "convnet" not in message


def test_unknown_names_list_all_names_when_none_is_close() -> None:
    assert near_misses("zzz", ["convnet", "mlp"]) == "choose from: convnet, mlp"
    assert near_misses("zzz", []) == "none is available"


def test_space_errors_say_where() -> None:
    assert str(SpaceError("space.yaml", 3, "no such field")) == "space.yaml:3: no such field"
    assert str(SpaceError("space.yaml", None, "empty")) == "space.yaml: empty"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db: refused", "postgresql://me:***@host/db: refused"),
        ("postgresql://me:sec@ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("https://secret@host/api and http://me:secret@other", "https://***@host/api and http://me:***@other"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?***"),
        ("http://127.0.0.1:5000 cannot be reached", "http://127.0.0.1:5000 cannot be reached"),
        ("sqlite:////home/me@work/optuna.db", "sqlite:////home/me@work/optuna.db"),
    ],
)
def test_secrets_of_urls_are_hidden_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown

"""What is not installed unless it is asked for, and how to ask."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.base.resources import DISTRIBUTION

EXTRAS = {"postgres": "psycopg", "ui": "optuna_dashboard", "auth": "flask_wtf"}
"""By the name in `pip install 'variantlab[...]'` the module that comes with it."""


def is_installed(extra: str) -> bool:
    """Whether the module of this extra can be found; it is not imported."""
    return find_spec(EXTRAS[extra]) is not None


def how_to_install(extra: str) -> str:
    """The command to type."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def explain_missing(error: BaseException) -> str:
    """What an error says, and where it is for want of PostgreSQL's driver how to get that."""
    said = str(error)
    if any(isinstance(cause, ImportError) and "psycopg" in (cause.name or "") for cause in _causes(error)):
        return f"{said} (a PostgreSQL is named postgresql+psycopg://..., and needs {how_to_install('postgres')})"
    return said


def _causes(error: BaseException) -> list[BaseException]:
    before = error.__cause__ or error.__context__
    return [error, *(_causes(before) if before is not None else [])]

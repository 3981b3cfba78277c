"""The errors that a person can act on.

    VariantlabError                 anything this package raises on purpose
    ├── InputError                  what was asked for is not possible; nothing was run (exit code 2)
    │   ├── UnknownNameError        a name that no registry holds, with its near misses
    │   └── SpaceError              a search space file that breaks a rule, with file and line
    ├── DataError                   a data source cannot be had or is not what it claims (exit code 2)
    └── StageError                  a stage began and could not end well (exit code 1)
        └── StoreError              a file or database that is damaged, full, locked, or not to be written

Messages state the rule, then the value, then the way out. The command line turns them into one line in one place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class VariantlabError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the process returns."""

    exit_code = 1


class InputError(VariantlabError):
    """A value that breaks a rule, found before anything ran."""

    exit_code = 2


class UnknownNameError(InputError):
    """A name that is not among the known ones; the message lists the near misses, or all names if there are none."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"unknown {kind} {name!r}; {near_misses(name, names)}")


class SpaceError(InputError):
    """A search space file that breaks a rule; carries the file and the line."""

    def __init__(self, path: str, line: int | None, message: str) -> None:
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {message}")


class DataError(VariantlabError):
    """A data source that cannot be reached, or whose bytes are not what they should be."""

    exit_code = 2


class StageError(VariantlabError):
    """A stage that began and could not produce its result."""


class StoreError(StageError):
    """A store that cannot be used: the rule, what is wrong (`fault`), and what to do (`remedy`)."""

    def __init__(self, rule: str, fault: str, remedy: str) -> None:
        super().__init__(f"{rule}, but {fault}; {remedy}")
        self.fault, self.remedy = fault, remedy


def hide_secrets(text: str) -> str:
    """The text without the passwords, tokens and queries of the URLs in it.

    A password may hold `@` or `/` although it should not, so all up to the last `@` is hidden, but for a user's name.
    What stands alone before the `@` is a name as well, but at a web server, where it may be a token.
    """
    text = re.sub(r"((?:https?)?://[^:/@\s]*:|https?://)\S*@", r"\1***@", text)
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1?***", text)


def near_misses(name: str, known: list[str]) -> str:
    """A hint for a mistyped name: the closest of `known`, or all of them when none is close."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from: {', '.join(known)}" if known else "none is available"


def one_line(text: str) -> str:
    """The text with what could end the line, or steer the terminal, written as Python escapes it."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)

"""What is shown at the terminal, in whatever encoding, and what keeps it from being shown."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress
from typing import TextIO

PLAIN = {"±": "+/-", "·": "-", "…": "...", "≤": "<=", "─": "-", "│": "|", "├": "|", "└": "`"}
"""What stands for a character that a terminal does not have."""
ERRORS = "variantlab"
"""Name of the error handler that does so."""


def use_utf8() -> None:
    """Start this program again in Python's UTF-8 mode where the locale has another encoding.

    Files and their names are then the same as in every other locale, for all packages that read or write them; what is
    shown has the encoding of the locale all the same. (Python's own default from 3.15 on.)
    """
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8":
        return
    shown = sys.stdout.encoding if sys.stdout else "ascii"
    if codecs.lookup(shown).name != "ascii":  # that of the C locale says nothing of the terminal
        os.environ.setdefault("PYTHONIOENCODING", shown)
    os.environ["PYTHONUTF8"] = "1"  # for the programs that this one starts
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - the same program


def show_all_characters() -> None:
    """Let standard output and standard error write what their encoding lacks in other characters."""
    codecs.register_error(ERRORS, _plain)
    for stream in _streams():
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    mark = error.object[error.start]
    if "\udc80" <= mark <= "\udcff":  # a byte of a file name that is not UTF-8
        return bytes([ord(mark) - 0xDC00]), error.start + 1
    return PLAIN.get(mark, mark.encode("ascii", "backslashreplace").decode()), error.start + 1


def discard_unwritten() -> None:
    """Forget what standard output or standard error cannot take, which would be tried again when the process ends."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def _streams() -> list[TextIO]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]

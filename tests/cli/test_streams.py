"""What is shown in whatever encoding, and what keeps it from being shown."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.streams import show_all_characters

VARIANTLAB = [sys.executable, "-m", "pipeline"]


def shown(text: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    show_all_characters()
    print(text, end="", flush=True)  # noqa: T201
    return written.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "7.69 ± 1.25 %, a · b… é ─".encode()),
        ("iso8859-1", b"7.69 \xb1 1.25 %, a \xb7 b... \xe9 -"),
        ("ascii", b"7.69 +/- 1.25 %, a - b... \\xe9 -"),
    ],
)
def test_what_an_encoding_lacks_is_shown_in_other_characters(
    encoding: str, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown("7.69 ± 1.25 %, a · b… é ─", encoding, monkeypatch) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_not_utf8_is_shown_byte_for_byte(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(os.fsdecode(b"/data/\xe9t\xe9"), encoding, monkeypatch) == b"/data/\xe9t\xe9"


BUFFERING = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


@BUFFERING
def test_a_reader_that_leaves_ends_a_command_quietly(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*VARIANTLAB, "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
@BUFFERING
def test_output_that_cannot_be_written_is_named(unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*VARIANTLAB, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "the disk is full at standard output;" in line


def test_names_are_what_they_are_in_a_locale_without_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "größe"
    folder.mkdir()
    (folder / "größe.yaml").write_text("lr: {type: float, low: 1e-4, high: 1e-2} # größer\n", encoding="utf-8")
    other = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*VARIANTLAB, "spaces", "check", "größe.yaml", "--model", "mlp"],
        cwd=folder,
        env={**os.environ, **other},
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines()[0] == "größe.yaml: correct for mlp"
    script = (
        "import os, sys; from pipeline.cli.streams import use_utf8; use_utf8(); print(ascii(os.getcwd()), sys.argv)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "-m", "größe"],
        cwd=folder,
        env={**os.environ, **other},
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode() == f"{str(folder)!a} ['-c', '-m', 'größe']\n"

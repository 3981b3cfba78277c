"""A file is written whole, or what was there before stays."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.files import check_writable, write_whole
from pipeline.base.stores import not_written

OLD, NEW = b"what was there before", b"what is there now" * 100_000


@given(content=st.binary(max_size=2000), before=st.none() | st.binary(max_size=2000))
def test_a_file_holds_what_was_written_and_nothing_is_left_beside_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, before: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("files") / "report.md"
    if before is not None:
        path.write_bytes(before)
    write_whole(path, content)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_meanwhile_sees_one_whole_file_or_the_other(tmp_path: Path) -> None:
    path, seen = tmp_path / "report.md", set[bytes]()
    path.write_bytes(OLD)

    def write() -> None:
        for content in (NEW, OLD) * 10:
            write_whole(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= {OLD, NEW}
    assert path.read_bytes() == OLD


def test_who_has_the_old_file_open_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_bytes(OLD)
    with path.open("rb") as open_before:
        write_whole(path, NEW)
        assert open_before.read() == OLD
    assert path.read_bytes() == NEW


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_is_readable_by_whom_the_umask_lets(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "report.md", NEW)
        assert os.umask(mask) == mask  # it was only read
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.md").stat().st_mode) == mode


def test_where_a_file_cannot_be_put_nothing_is_left(tmp_path: Path) -> None:
    taken = tmp_path / "report.md"
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"report\.md"):
        write_whole(taken, NEW)
    assert list(tmp_path.iterdir()) == [taken]
    assert [path.name for path in taken.iterdir()] == ["inside"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "user"])
def test_what_fails_in_the_middle_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = tmp_path / "report.md"
    path.write_bytes(OLD)

    def fail(descriptor: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(failure)):
        write_whole(path, NEW)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_what_keeps_a_file_from_being_written_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as the system does: without a name

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(tmp_path / "report.md", NEW)
    error = not_written(caught.value)
    assert f"the disk is full at {tmp_path / 'report.md'};" in str(error)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS], ids=os.strerror)
def test_what_must_not_be_written_is_named(number: int) -> None:
    error = not_written(OSError(number, os.strerror(number), "/there/file"))
    assert f"/there/file cannot be written ({os.strerror(number)})" in str(error)


def test_of_a_copy_the_file_that_could_not_be_written_is_named() -> None:
    error = not_written(OSError(errno.ENOSPC, "No space left on device", "/here/file", None, "/there/file"))
    assert "the disk is full at /there/file;" in str(error)


def test_errors_of_other_kinds_are_not_explained_away() -> None:
    assert not_written(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is None
    assert not_written(OSError(errno.EACCES, "of nothing that has a name")) is None


@pytest.mark.parametrize("name", ["report.md", "new.md"])
def test_a_file_that_can_be_written_is_not_touched_by_asking(tmp_path: Path, name: str) -> None:
    (tmp_path / "report.md").write_bytes(OLD)
    check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert (tmp_path / "report.md").read_bytes() == OLD


@pytest.mark.parametrize(
    "name",
    [".", "missing/report.md", "file/report.md", "x" * 300],
    ids=["a folder", "no folder", "below a file", "long"],
)
def test_a_file_that_cannot_be_written_is_known_before(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=re.escape(str(tmp_path))) as caught:
        check_writable(tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_its_folder_a_file_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "report.md", NEW)
    assert list(tmp_path.iterdir()) == []

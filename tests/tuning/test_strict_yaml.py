from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import SpaceError
from pipeline.tuning.strict_yaml import MAX_BYTES, Node, read_yaml


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


def read(folder: Path, content: str | bytes) -> Any:
    path = folder / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return plain(read_yaml(path))


def refusal(folder: Path, content: str | bytes) -> str:
    """The message, which names the file and is one line."""
    with pytest.raises(SpaceError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert message.startswith(str(folder / "file.yaml"))
    assert "\n" not in message
    return message.removeprefix(str(folder / "file.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E+2", 100.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("12", 12),
        ("+7", 7),
        ("010", 10),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2001-01-01", "2001-01-01"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
        ("{b: {c: 1e2}}", {"b": {"c": 100.0}}),
    ],
)
def test_scalars_are_read_as_a_person_means_them(tmp_path: Path, text: str, value: Any) -> None:
    read_value = read(tmp_path, f"a: {text}\n")["a"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("# comment\na: 1\n\nb:\n  - x\n  - {c: 2}\n")
    root = read_yaml(tmp_path / "file.yaml").value
    assert (root["a"].line, root["b"].value[0].line, root["b"].value[1].value["c"].line) == (2, 5, 6)


def test_a_duplicate_key_names_both_lines(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a: 1\nb: 2\na: 3\n") == ":3: the key 'a' stands twice, first on line 1"
    assert refusal(tmp_path, "x:\n  b: 1\n  'b': 2\n").startswith(":3: the key 'b' stands twice")


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x\n", BOMB, "a: 1\nb: &b [*b]\n"], ids=["plain", "bomb", "cycle"])
def test_aliases_are_refused_where_they_stand(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith(":2: aliases (*name) are not allowed")


def test_an_anchor_without_alias_means_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &x 1\nb: &x 2\n") == {"a": 1, "b": 2}


def test_a_merge_key_merges_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "a: {<<: {b: 1}, c: 2}\n") == {"a": {"<<": {"b": 1}, "c": 2}}


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object:os.system {}",
        "!!python/object/apply:os.system [true]",
        "!!python/name:os.system ''",
        "!!binary aGVsbG8=",
        "!!set {b, c}",
        "!!omap [b: 1]",
        "!!timestamp 2001-01-01",
        "!own 1",
        "!!map [1]",
        "!!seq {b: 1}",
        "!!str [1]",
        "!!int a",
        "!!bool maybe",
        "!!null b",
        "!!float nan",
    ],
)
def test_tags_cannot_make_anything_else(tmp_path: Path, value: str) -> None:
    assert refusal(tmp_path, f"b: 1\na: {value}\n").startswith(":2: ")


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "[{a: "])
def test_deep_nesting_is_refused(tmp_path: Path, opening: str) -> None:
    assert refusal(tmp_path, opening * 10_000).startswith(":1: values may be nested 16 deep at most")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("a: " + "9" * 5000, ":1: a number may have 30 characters at most", id="huge integer"),
        pytest.param("%YAML 1." + "1" * 5000 + "\n--- 1", ": is not valid YAML", id="huge version"),
        pytest.param('a: "\\UFFFFFFFF"', ": is not valid YAML", id="no such character"),
        pytest.param("a: [" + "1, " * 5000 + "]", ":1: a file may hold 5000 keys and values at most", id="too many"),
        pytest.param("a: !<b%0Ac> 1", ":1: the tag 'b\\nc' is not allowed", id="tag of two lines"),
        pytest.param("a" * 70 * 1024, ": a search space must be at most 64 KiB", id="too long"),
        pytest.param(b"a: \xff", ": must be UTF-8 text, but byte 3 is not", id="not UTF-8"),
        pytest.param("a: 1".encode("utf-16"), ": must be UTF-8 text, but byte 0 is not", id="UTF-16"),
        pytest.param(b"a: \x00", ": is not valid YAML", id="NUL"),
        pytest.param("", ": is empty", id="empty"),
        pytest.param("# only\n# comments\n", ": is empty", id="comment only"),
        pytest.param("a:\n\tb: 1\n", ":2: ", id="tab"),
        pytest.param("a: 1\n---\nb: 2\n", ":2: ", id="two documents"),
        pytest.param("a: [1, 2\nb: 3\n", ":2: ", id="open bracket"),
        pytest.param("1: a\n", ":1: keys must be text, but got a whole number", id="number as key"),
        pytest.param("[a]: 1\n", ":1: keys must be text, but got a list", id="list as key"),
    ],
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert refusal(tmp_path, content).startswith(message)


def test_a_file_of_just_the_allowed_size_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "a: 1\n#".ljust(MAX_BYTES, "x")) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "reason"), [("none.yaml", "No such file"), (".", "Is a directory"), ("x" * 300, "name too long")]
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(SpaceError, match=f"cannot be read: .*{reason}") as caught:
        read_yaml(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("yaml") / "file.yaml"


def parses_or_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(SpaceError):
        plain(read_yaml(path))


@given(content=st.binary(max_size=200))
@settings(max_examples=200)
def test_arbitrary_bytes_parse_or_are_refused(scratch: Path, content: bytes) -> None:
    parses_or_is_refused(scratch, content)


@given(text=st.text(max_size=200) | st.text("[]{}:,-?!&*|>%\"'\\ \n\tabxuUY019eE.+<#", max_size=60))
@example("a: '\\ud800'")
@example('a: "\\ud800"')
@settings(max_examples=500)
def test_arbitrary_text_parses_or_is_refused(scratch: Path, text: str) -> None:
    parses_or_is_refused(scratch, text.encode())


FRAGMENTS = (
    *(
        "a",
        "b: 1",
        "- ",
        "? ",
        ": ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\n",
        "  ",
        "&x ",
        "*x",
        "!!int ",
        "!!map ",
        "! ",
        "|\n",
    ),
    *('"', "'", "%YAML 1.2\n", "---\n", "...\n", "#", "<<", "~", "1e999", "\\x", "\\UFFFFFFFF", "!<%ff> ", "\t"),
)


@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=30))
@settings(max_examples=500)
def test_yaml_like_text_parses_or_is_refused(scratch: Path, parts: list[str]) -> None:
    parses_or_is_refused(scratch, "".join(parts).encode())

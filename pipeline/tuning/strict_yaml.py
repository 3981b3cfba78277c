"""A YAML reader that takes only what a data file needs, and explains the rest with file and line.

Plain YAML loaders accept duplicate keys, aliases (and with them bombs), `no` for false, `1:30` for ninety, and read
`1e-3` as text. This one refuses or reads them as the person meant: scalars follow YAML 1.2's core schema.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from pipeline.base.errors import SpaceError

MAX_BYTES = 64 * 1024
MAX_NODES = 5000
MAX_DEPTH = 16
MAX_DIGITS = 30


@dataclass(frozen=True)
class Node:
    """A value and the line (from 1) on which it stands. Mappings hold Nodes by key, lists hold Nodes."""

    value: Any
    line: int

    @property
    def kind(self) -> str:
        """What a person would call it."""
        if self.value is None:
            return "nothing"
        if self.value in ([], {}):
            return "an empty list" if self.value == [] else "an empty mapping"
        names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a whole number"}
        return names.get(type(self.value), "a number")


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2 and limits on what costs time or stack; aliases are refused."""

    nodes = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node unless it breaks a rule of this reader."""
        event = cast(Any, self).peek_event()
        mark: yaml.error.Mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed; write the value out", problem_mark=mark
            )
        self.anchors = {}  # without aliases one name may stand for several
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"a file may hold {MAX_NODES} keys and values at most", problem_mark=mark
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"values may be nested {MAX_DEPTH} deep at most", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_CoreLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def read_yaml(path: Path) -> Node:
    """Read a file strictly.

    Raises SpaceError, with the line where one is known, for everything that is not plain YAML of mappings, lists and
    scalars.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpaceError(name, None, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpaceError(name, None, f"a search space must be at most {MAX_BYTES // 1024} KiB")
    try:
        root = yaml.compose(content.decode(), _CoreLoader)
    except UnicodeDecodeError as error:
        raise SpaceError(name, None, f"must be UTF-8 text, but byte {error.start} is not") from error
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise SpaceError(name, line, error.problem or "is not valid YAML") from error
    except yaml.YAMLError as error:
        raise SpaceError(name, None, f"is not valid YAML: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError) as error:  # PyYAML lets these out of "\\UFFFFFFFF" and of %YAML 1.<5000 figures>
        raise SpaceError(name, None, f"is not valid YAML: {error}") from error
    if root is None:
        raise SpaceError(name, None, "is empty")
    return _convert(root, name)


def _convert(node: yaml.Node, name: str) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        mapping: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key = _convert(key_node, name)
            if not isinstance(key.value, str):
                raise SpaceError(name, key.line, f"keys must be text, but got {key.kind}")
            if key.value in mapping:
                raise SpaceError(
                    name, key.line, f"the key {key.value!r} stands twice, first on line {mapping[key.value].line}"
                )
            mapping[key.value] = _convert(value_node, name)
        return Node(mapping, line)
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return Node([_convert(child, name) for child in node.value], line)
    if isinstance(node, yaml.ScalarNode):
        return Node(_scalar(node, name, line), line)
    raise SpaceError(name, line, f"the tag {node.tag!r} is not allowed")


def _scalar(node: yaml.ScalarNode, name: str, line: int) -> str | int | float | bool | None:
    text = node.value
    match node.tag.removeprefix("tag:yaml.org,2002:"):
        case "str":
            return str(text)
        case "null" if text in ("", "~") or text.lower() == "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return bool(text.lower() == "true")
        case "int" | "float" as kind:
            if len(text) > MAX_DIGITS:
                raise SpaceError(name, line, f"a number may have {MAX_DIGITS} characters at most, but got {len(text)}")
            try:
                number = int(text) if kind == "int" else float(text)
            except ValueError:
                raise SpaceError(name, line, f"{text!r} is not a number") from None
            if math.isnan(number):
                raise SpaceError(name, line, f"{text!r} is not a number")
            return number
    raise SpaceError(name, line, f"the tag {node.tag!r} is not allowed")

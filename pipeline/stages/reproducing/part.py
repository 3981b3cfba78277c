"""One mapping of a YAML file, read key by key, whose every failure names the file and the line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Set

from pipeline.base.errors import SpaceError, near_misses
from pipeline.tuning.strict_yaml import Node


class Part:
    """The mapping; `what` it is stands in messages."""

    def __init__(self, path: str, node: Node, what: str) -> None:
        self.path, self.node, self.what = path, node, what
        if not isinstance(node.value, dict) or not node.value:
            raise self.fail(f"{what} must be a mapping that is not empty, but got {node.kind}")
        self.fields: dict[str, Node] = node.value

    def fail(self, message: str, at: str | Node | None = None) -> SpaceError:
        """What is wrong with it, or with a part of it."""
        node = at if isinstance(at, Node) else self.node.value.get(at, self.node) if at else self.node
        return SpaceError(self.path, node.line, message)

    def only(self, required: Set[str], optional: Set[str] = frozenset()) -> Part:
        """Itself, if it has these keys and no other."""
        self.names("key", required | optional)
        if missing := required - self.fields.keys():
            raise self.fail(f"{self.what} needs {', '.join(sorted(missing))}")
        return self

    def names(self, kind: str, known: Iterable[str]) -> None:
        """Check that all its keys are known ones."""
        for key, node in self.fields.items():
            self.known(Node(key, node.line), kind, known)

    def known(self, node: Node, kind: str, known: Iterable[str]) -> str:
        """A name that is one of the known."""
        name = self.text_of(node, f"a {kind}")
        if name not in (names := list(known)):
            raise self.fail(f"unknown {kind} {name!r}; {near_misses(name, names)}", node)
        return name

    def choice(self, key: str, known: Iterable[str], default: str | None = None) -> str:
        """One of the known names, or the default."""
        return self.known(self._node(key), key, known) if default is None or key in self.fields else default

    def text(self, key: str, default: str | None = None) -> str:
        """Text, or the default."""
        return self.text_of(self._node(key), key) if default is None or key in self.fields else default

    def text_of(self, node: Node, what: str) -> str:
        """Text that is not empty."""
        if not isinstance(node.value, str) or not node.value.strip():
            raise self.fail(f"{what} must be text, but got {node.value!r} ({node.kind}); quote it if it is", node)
        return node.value

    def number(self, node: Node, what: str) -> float:
        """A finite number."""
        if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not math.isfinite(node.value):
            raise self.fail(f"{what} must be a finite number, but got {node.value!r} ({node.kind})", node)
        return float(node.value)

    def whole(self, key: str, low: int, other: str = "") -> int:
        """A whole number."""
        value = self._node(key).value
        if type(value) is not int or value < low:
            raise self.fail(f"{key} must be a whole number from {low} on{other}, but got {value!r}", key)
        return value

    def part(self, key: str, what: str) -> Part:
        """A mapping in it."""
        return Part(self.path, self._node(key), what)

    def parts(self, key: str, what: str) -> list[Part]:
        """The mappings of a list in it."""
        return [Part(self.path, node, what) for node in self.items(key)]

    def items(self, key: str) -> list[Node]:
        """A list in it; empty if there is none."""
        if key not in self.fields:
            return []
        node = self.fields[key]
        if not isinstance(node.value, list) or not node.value:
            raise self.fail(f"{key} must be a list of at least one, but got {node.kind}", node)
        return node.value

    def _node(self, key: str) -> Node:
        if key not in self.fields:
            raise self.fail(f"{self.what} needs {key}")
        return self.fields[key]

"""Search space files as nobody means them."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from pipeline.models.hyperparameters import HYPERPARAMETERS
from pipeline.tuning.space_file import SPACES

NUMBERS = ("0", "1", "2", "10", "25", "100", "-1", "0.1", "0.5", "1e-3", "1e-2", "-0.0", "1e999", "1e-999", "1_0")
HUGE = ("9" * 20, "9" * 31, "9" * 5000, "-" + "9" * 20, "1" + "0" * 400)
OTHERS = ("nan", ".nan", "inf", ".inf", "-.inf", "true", "off", "null", "~", "''", "adam", "none", "constant", "cosine")

SYNTAX = (
    *("[", "]", "{", "}", ",", ":", ": ", "- ", "? ", "# ", "|", ">", "'", '"', "\n", "\n\n", " ", "\t", "\r", "\0"),
    *("&a ", "*a", "<<: ", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! x\n", "@", "`", "\ufeff", "\u0085", "\u2028", "é"),
    *("!!python/object:os.system ", "!!python/name:os.system ", "!!binary ", "!!set ", "!!int ", "!own ", "!<a%0Ab> "),
    *("[" * 20, "{a: " * 20, "- " * 20, "\n  lr: 1", "lr: 1\nlr: 2\n", "x" * 2000),
    *('"\\x', '"\\UFFFFFFFF"', "\U0001f600"),
)
KEYS = (
    *("type", "low", "high", "step", "log", "significant_digits", "digits", "values", "default", "when", "optional"),
    *("models", "constraints"),
)
WORDS = (*HYPERPARAMETERS, "kernel", "nodes", "batch_norm", "dropout", *KEYS, *NUMBERS, *HUGE, *OTHERS)
TOKENS = re.compile(r"\w+|\s+|.", re.DOTALL)
WRITTEN = [TOKENS.findall(path.read_text()) for path in sorted(SPACES.rglob("*.yaml"))]
"""The files that there are, in tokens."""


@st.composite
def mutated_spaces(draw: st.DrawFn) -> bytes:
    """A file of `search_spaces/` with a few tokens, or lines, deleted, doubled, exchanged, replaced or put in."""
    tokens = list(draw(st.sampled_from(WRITTEN)))
    for _ in range(draw(st.integers(1, 4))):
        place, other = (draw(st.integers(0, len(tokens) - 1)) for _ in range(2))
        length = draw(st.sampled_from((1, 1, 1, 5, 40)))
        match draw(st.sampled_from(("delete", "double", "exchange", "replace", "insert"))):
            case "delete":
                tokens[place : place + length] = [""]
            case "double":
                tokens[place:place] = tokens[place : place + length]
            case "exchange":
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case "replace":
                tokens[place] = draw(st.sampled_from(WORDS))
            case _:
                tokens.insert(place, draw(st.sampled_from(SYNTAX)))
    return "".join(tokens).encode()


def mapping(required: dict[str, st.SearchStrategy[str]], **optional: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A mapping as YAML writes it on one line, its values written already."""
    return st.fixed_dictionaries(required, optional=optional).map(
        lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
    )


def listed(items: st.SearchStrategy[str], most: int = 4) -> st.SearchStrategy[str]:
    """A list as YAML writes it on one line."""
    return st.lists(items, max_size=most).map(lambda each: f"[{', '.join(each)}]")


RIGHT = {
    "lr": "{type: float, low: 1e-6, high: 1, log: true, significant_digits: 3}",
    "batch_size": "{type: choice, values: [1, 10, 25, 100, 250]}",
    "epochs": "{type: int, low: 1, high: 101}",
    "alpha": "{type: float, low: 0, high: 2, optional: true}",
    "optimiser": "{type: choice, values: [adam, sgd]}",
    "momentum": "{type: float, low: 0, high: 0.9, step: 0.1, when: {optimiser: sgd}}",
    "weight_decay": "{type: float, low: 0, high: 1, step: 1e-4}",
    "schedule": "{type: choice, values: [constant, cosine]}",
    "lr_min": "{type: choice, values: [0, 1e-7], when: {schedule: [cosine]}}",
    "restart_epochs": "{type: int, low: 1, high: 9, step: 2}",
    "augmentation": "{type: choice, values: [none, rotate]}",
    "inputs": "{type: choice, values: [standardised, unit, grey]}",
    "batch_norm": "{type: choice, values: [true, false]}",
    "kernel": "{type: int, low: 1, high: 7, step: 2}",
    "nodes": "{type: int, low: 1, high: 4096}",
    "layers": "{type: int, low: 1, high: 4}",
}
"""Dimensions as they are meant, so that what is wrong elsewhere is reached."""
COMMON = st.sampled_from([name for name in RIGHT if name in HYPERPARAMETERS])
NAMES = COMMON | COMMON | st.sampled_from(list(RIGHT))
SCALARS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(OTHERS + HUGE),
    st.integers(-10, 10**6).map(str),
    st.floats(0, 10).map(str),
)
SIDES = NAMES | SCALARS | st.tuples(NAMES, st.sampled_from("+-*/%"), NAMES | SCALARS).map(" ".join)
COMPARISONS = st.tuples(SIDES, st.sampled_from(("<", "<=", "==", "!=", "in", "=")), SIDES).map(
    lambda parts: f'"{" ".join(parts)}"'
)
RANGES = mapping(
    {"type": st.sampled_from(("float", "int")), "low": SCALARS, "high": SCALARS},
    step=SCALARS,
    log=SCALARS,
    significant_digits=SCALARS,
    digits=SCALARS,
    optional=SCALARS,
    default=SCALARS,
    when=mapping({}, optimiser=listed(SCALARS), lr=SCALARS),
)
CHOICES = mapping({"type": st.just("choice"), "values": listed(SCALARS)}, default=SCALARS, when=SCALARS)
NEITHER = mapping({}, type=SCALARS, low=listed(SCALARS), values=mapping({}, a=SCALARS), high=SCALARS)


@st.composite
def structured_spaces(draw: st.DrawFn) -> bytes:
    """A mapping of hyperparameters to dimensions of which some do not fit, with constraints and models."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    lines = [
        f"{name}: {draw(st.just(RIGHT[name]) | st.just(RIGHT[name]) | RANGES | CHOICES | NEITHER)}" for name in names
    ]
    if draw(st.booleans()):
        lines.append(f"constraints: {draw(listed(COMPARISONS))}")
    if draw(st.integers(0, 9)) == 9:
        lines.append(f"models: {draw(listed(st.sampled_from(('mlp_ws_al', 'disc_mlp', 'mpl', '1', '[]'))))}")
    return "\n".join(lines).encode()

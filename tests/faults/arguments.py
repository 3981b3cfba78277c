"""Lists of arguments as nobody means them, for each command."""

from __future__ import annotations

from collections.abc import Iterator

import click
from hypothesis import strategies as st

from pipeline.cli import main

VALID = {
    "model": ("mlp", "mlp_ws_al", "linear_digits", "disc_mlp"),
    "name": ("mlp",),
    "file": ("mine.yaml",),
    "space": ("mine.yaml",),
    "tables": ("000/table-2", "001/table-4:2", "000/table-2,001/table-4", "all"),
    "grid": ("epochs=1,2 batch_size=25", "optimiser=sgd"),
    "changes": ("epochs=2 batch_norm=on", "lr=1e-3"),
    "from_run": ("0123456789abcdef0123456789abcdef",),
    "sampler": ("random", "grid", "two-step", "screen", "nsga2"),
    "contrast": ("mlp:mlp_ws",),
    "samples": ("20", "all"),
    "budget": ("10m", "1h30m"),
    "sort": ("final_test_error",),
    "stage": ("search", "trial"),
    "format": ("json", "csv"),
}
"""Values that an option, or an argument, has besides its default."""
PLAIN = (
    *("", " ", "-", "--", "=", ",", ":", "0", "1", "-1", "+1", "01", "1.5", "1e3", "1e999", "nan", "inf", "-inf"),
    *("9" * 20, "9" * 400, "9" * 5000, "-" + "9" * 5000, "\u0663", "\u00b2", "1_000", "0x10", "2**99", "x" * 100_000),
    *("none", "null", "true", "False", "all", "preset", "best", "auto", "same", "on", "disc", "mnist", "idx"),
)
ODD = (
    *("é", "模型", "\U0001f600", "e\u0301", "\u202emlp", "\ufeffmlp", "\u2028", "\u0085", "mlp\n", "a\nb", "\r", "\t"),
    *("\x1b[31mred", "\x07", "\x7f", "\udcff", "mlp\udc80", "%s%n", "{0}", "{model}", "\\", "\\0", "%00"),
    *("$(touch made)", "`touch made`", "; touch made", "| cat", "&& touch made", "> made", "*", "~", "~nobody-here/x"),
    *("'", '"', "' or '1'='1", "`role` = 'x", "a=b=c", "lr=", "=1", "lr=1e999", "lr=nan", "epochs=" + "9" * 5000),
    *("mlp:mlp", "mlp,mlp", ",,,", "mlp:", "000/table-2:" + "9" * 5000, "000/table-2:\u0663", "10 m", "1h" * 9),
)
PLACES = (
    *(".", "..", "../../outside", "none/such", "looped.yaml", "mine.yaml/x", "mlflow.db", "a" * 300, "a/" * 3000),
    *("/dev/null", "/dev/null/x", "/dev/zero", "/proc/self/mem", "sqlite://", "sqlite:////dev/null/x.db", "nosuch://"),
    *("sqlite:///none/such/x.db", "http://127.0.0.1:9/x", "http://a:b/", "postgresql://user:secret@127.0.0.1:9/x"),
)
OPTIONS = (
    *("--help", "-h", "--dry-run", "--version", "--model", "--model=mlp"),
    *("--", "-x", "--x", "--no-such", "---", "-="),
)
HOSTILE = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(ODD),
    st.sampled_from(PLACES),
    st.sampled_from(OPTIONS),
    st.integers().map(str),
    st.floats().map(str),
    # What an operating system hands over: any text without NUL. No path from the root: a folder could be made there.
    st.text(st.characters(exclude_characters="\0/~"), max_size=20),
)


def leaves(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group and of the groups in it, each with its name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield " ".join((*above, name)), command


COMMANDS = dict(leaves(main))


def values_of(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Valid values of an option or an argument, and as many hostile ones."""
    default = [str(parameter.default)] if isinstance(parameter.default, str | int | float | bool) else []
    valid = st.sampled_from((*VALID.get(str(parameter.name), ()), *default) or ("x",))
    return st.one_of(valid, st.integers().map(str) if "integer" in parameter.type.name else valid, HOSTILE)


@st.composite
def lists_for(draw: st.DrawFn, name: str) -> list[str]:
    """The command with options in any number and order, with valid and hostile values, without one, and unknown."""
    command = COMMANDS[name]
    given, options = name.split(), [each for each in command.params if isinstance(each, click.Option)]
    for parameter in command.params:  # mostly as it is meant, so that what is wrong elsewhere is reached
        if isinstance(parameter, click.Argument):
            given.append(draw(values_of(parameter)))
        elif parameter.required and draw(st.integers(0, 9)):
            given += [parameter.opts[0], VALID[str(parameter.name)][0]]
    for _ in range(draw(st.integers(0, 5 if options else 0))):
        option = draw(st.sampled_from(options))
        value = draw(values_of(option))
        match draw(st.sampled_from((*["apart"] * 4, *["joined"] * 4, "alone", "unknown", "stray"))):
            case "apart":
                given += [option.opts[0], value]
            case "joined":
                given.append(f"{option.opts[0]}={value}")
            case "alone":
                given.append(option.opts[0])
            case "unknown":
                given.append(f"--{draw(HOSTILE)}")
            case _:
                given.append(value)
    return given

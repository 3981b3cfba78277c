"""models: the variants that there are, and one of them in full. It trains and logs nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.own.definition import FILLED, Definition
from pipeline.models.variant import Variant
from pipeline.reports.layout import Part
from pipeline.reports.tables import Table
from pipeline.stages.searching.config import default_space
from pipeline.stages.stage import show_hyper, show_value
from pipeline.tasks.registry import task_of, variants
from pipeline.tasks.subjects import find_model, installed_models
from pipeline.tuning.space_file import SPACES


def list_variants() -> list[Part]:
    """All variants with task, family, paper, parameter count and options."""
    rows = [
        [
            variant.name,
            task_of(variant).name,
            variant.family,
            variant.paper or "-",
            f"{variant.parameters:,}",
            ", ".join(option.name for option in variant.options),
        ]
        for variant in sorted(variants().values(), key=lambda variant: variant.paper or "~")
    ]
    table = Table(["model", "task", "family", "report", "parameters", "options"], rows)
    shown = (
        f"{len(rows)} variants; `variantlab models NAME` shows one, and so does file.py:Class of a model of your own."
    )
    own = [f"Installed packages bring {', '.join(installed)}."] if (installed := list(installed_models())) else []
    return [table, shown, *own]


def describe(name: str) -> list[Part]:
    """One variant: source, layers, sizes, options, preset and search spaces; of a person's own model, which has a size
    only with data, what can be said without. Raises UnknownNameError."""
    variant = find_model(name)
    if isinstance(variant, Definition):
        return _describe_own(variant)
    options = Table(
        ["option", "preset", "admits", "meaning"],
        [
            [option.name, show_value(dict(variant.preset.structure)[option.name]), option.admitted, option.meaning]
            for option in variant.options
        ],
    )
    common = [name for name in variant.hyperparameters if name not in {option.name for option in variant.options}]
    return [
        f"{variant.name}: {variant.title}; {variant.parameters:,} parameters",
        variant.source.strip(),
        _layers(variant),
        options,
        f"Preset: {show_hyper(variant, variant.preset)}",
        f"Hyperparameters for --grid, --changes and search spaces: {', '.join(common)}, and the options above.",
        *_spaces(variant),
    ]


def _describe_own(definition: Definition) -> list[Part]:
    factors = ", ".join(f"{factor}={show_value(level)}" for factor, level in definition.factors.items())
    kind = "an estimator, fitted one by one" if definition.is_estimator else "a network"
    options = Table(
        ["argument", "default", "admits"],
        [
            [option.name, "-" if option.default is None else show_value(option.default), option.admitted]
            for option in definition.options()
        ],
    )
    return [
        f"{definition.name} ({definition.reference}): {kind}" + (f" with {factors}" if factors else ""),
        definition.source or "It has no docstring.",
        options,
        f"Arguments called {', '.join(FILLED)} are filled in from the data.",
    ]


def _layers(variant: Variant) -> Table:
    """The leaves of the preset's network in the order in which a sample goes through them."""
    headers = ["layer", "output", "parameters"]
    network = variant.build()
    rows: list[list[Any]] = []
    seen: set[nn.Module] = set()

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        count = "(shared)" if parameters and module in seen else f"{parameters:,}" if parameters else ""
        outputs = output if isinstance(output, tuple) else (output,)
        shapes = " and ".join("x".join(map(str, each.shape[1:])) for each in outputs if isinstance(each, Tensor))
        rows.append([_shown(module), shapes, count])
        seen.add(module)

    for module in network.modules():
        if not any(module.children()):
            module.register_forward_hook(note)
    with torch.inference_mode():
        network.eval()(variant.example())
    return Table(headers, rows)


def _shown(module: nn.Module) -> str:
    """A layer with the sizes that tell it from others of its kind."""
    kind = type(module).__name__
    match module:
        case nn.Linear():
            return f"{kind} {module.in_features}-{module.out_features}"
        case nn.Conv2d():
            kernel = "x".join(map(str, module.kernel_size))
            padded = f", padding {module.padding[0]}" if any(module.padding) else ""
            return f"{kind} {module.in_channels}-{module.out_channels}, {kernel}{padded}"
        case nn.MaxPool2d() | nn.AvgPool2d():
            return f"{kind} {module.kernel_size}"
        case nn.Dropout():
            return f"{kind} {module.p:g}"
    return kind


def _spaces(variant: Variant) -> list[str]:
    """The files that its searches read, in full."""
    found = []
    for sampler, what in (("tpe", ""), ("two-step", " --sampler two-step"), ("screen", " --sampler screen")):
        path = default_space(variant, sampler)
        if path.exists():
            text = path.read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            shown = path.relative_to(SPACES.parent)
            found.append("\n".join([f"Space of search{what} ({shown}):", *(f"    {line}" for line in lines)]))
    return found

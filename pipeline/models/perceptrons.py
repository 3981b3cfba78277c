"""Fully connected networks of features, told apart by the number of their hidden layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from pipeline.models.blocks import LAYER_OPTIONS, Layers, with_layers
from pipeline.models.hyperparameters import Hyperparameters, Option
from pipeline.models.metrics import Metric
from pipeline.models.objectives import Objective
from pipeline.models.transforms import Transforms, standardised_features
from pipeline.models.variant import Variant

NODES = Option(name="nodes", kind=int, low=1, high=4096, meaning="width of every hidden layer")
TRANSFORMS = Transforms(scalings={"standardised": standardised_features})
NAMES = ("linear", "mlp", "deep")
"""By the number of hidden layers."""


@dataclass(frozen=True)
class Perceptron:
    """Makes the network of one variant."""

    inputs: int
    outputs: int
    depth: int
    """Number of hidden layers."""

    def __call__(self, *, batch_norm: bool = False, dropout: float = 0.0, nodes: int = 0) -> nn.Module:
        """(B, inputs) -> (B, outputs)."""
        layers, widths = Layers(batch_norm, dropout), [self.inputs, *[nodes] * self.depth]
        hidden = [part for index in range(self.depth) for part in layers.dense(*widths[index : index + 2])]
        return nn.Sequential(*hidden, nn.Linear(widths[-1], self.outputs))


def perceptrons(
    family: str, *, inputs: int, outputs: int, objective: Objective, metrics: tuple[Metric, ...], task: str, title: str
) -> tuple[Variant, ...]:
    """`linear_<family>`, `mlp_<family>` and `deep_<family>`: none, one and two hidden layers."""
    return tuple(
        Variant(
            name=f"{name}_{family}",
            family=family,
            task=task,
            title=title,
            source=f"{inputs}-" + "nodes-" * depth + f"{outputs}, ReLU between; Adam.",
            factors={"depth": depth},
            objective=objective,
            metrics=metrics,
            transforms=TRANSFORMS,
            input_shape=(inputs,),
            preset=_preset(depth),
            options=(*LAYER_OPTIONS, NODES) if depth else (),
            make=Perceptron(inputs, outputs, depth),
        )
        for depth, name in enumerate(NAMES)
    )


def _preset(depth: int) -> Hyperparameters:
    if not depth:
        return Hyperparameters(lr=0.01, batch_size=25, epochs=30)
    return with_layers(Hyperparameters(lr=0.003, batch_size=25, epochs=30, structure=(("nodes", 64),)))

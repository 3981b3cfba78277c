"""Compiled steps and CUDA graphs give what operation by operation gives."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.dataset import Dataset
from pipeline.models.variant import Variant
from pipeline.tasks.disc.step import MiniStep
from pipeline.tasks.registry import get_variant
from pipeline.training.chunk import ChunkTraining
from pipeline.training.compute import Compute
from pipeline.training.plan import Chunk, Job, Outcome, compose_chunks
from pipeline.training.pool import Trainer
from pipeline.training.step import can_compile
from tests.training.plans import DIGITS, POINTS, make_chunk, make_hypers, make_replica

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def chunk_of(variant: str) -> Chunk:
    """Replicas leave, and the last batch is smaller."""
    # SGD where layers normalise: it does not enlarge the rounding in the gradient of a bias before one.
    optimiser = "adam" if variant == "mlp_ws_al" else "sgd"
    hypers = [replace(hyper, weight_decay=0.01) for hyper in make_hypers(variant, 3, 25, optimiser=optimiser)]
    return make_chunk(variant, [make_replica(*numbered) for numbered in enumerate(hypers)], keep_models=True)


def run(chunk: Chunk, splits: tuple[Dataset, Dataset] = DIGITS, *, device: str = "cpu") -> list[Outcome]:
    """In float64."""
    return ChunkTraining(chunk, *splits, dtype=torch.float64, device=device).run(lambda _: None)


def assert_close(some: list[Outcome], others: list[Outcome]) -> None:
    for one, other in zip(some, others, strict=True):
        assert (one.status, one.epochs) == (other.status, other.epochs)
        assert one.curves.keys() == other.curves.keys()
        for name in {"train_loss", "held_out_loss", "held_out_digit_error"} & one.curves.keys():
            np.testing.assert_allclose(one.curves[name], other.curves[name], rtol=1e-9)


@needs_compiler
@pytest.mark.parametrize("variant", ["mlp_ws_al", "mlp3", "linear_digits"])
def test_a_compiled_training_equals_an_ordinary_one(variant: str) -> None:
    chunk = chunk_of(variant)
    assert_close(run(replace(chunk, compiled=True)), run(chunk))


@needs_cuda
@pytest.mark.parametrize("variant", ["mlp_ws_al", "mlp3", "lenet_digits"])
class TestOnGPU:
    def test_a_cuda_graph_equals_an_ordinary_training(self, variant: str) -> None:
        chunk = chunk_of(variant)
        assert_close(run(replace(chunk, compiled=True), device="cuda"), run(chunk, device="cuda"))

    def test_a_gpu_gives_what_the_cpu_gives(self, variant: str) -> None:
        assert_close(run(chunk_of(variant), device="cuda"), run(chunk_of(variant)))


@needs_cuda
def test_a_gpu_gives_what_the_cpu_gives_for_points() -> None:
    hypers = make_hypers("disc_mlp", 3, 4)
    chunk = make_chunk("disc_mlp", [make_replica(*numbered, splits=POINTS) for numbered in enumerate(hypers)])
    assert_close(run(chunk, POINTS, device="cuda"), run(chunk, POINTS))


def made_of(*layers: nn.Module) -> Variant:
    """A variant with these layers, whatever its structure."""
    return replace(get_variant("mlp"), make=lambda **_: nn.Sequential(*layers))


@pytest.mark.parametrize(
    ("variant", "on_cpu", "on_gpu"),
    [
        (made_of(nn.Linear(3, 3), nn.ReLU()), True, True),
        (made_of(nn.Linear(3, 3), nn.Sequential(nn.BatchNorm1d(3))), False, True),
        (made_of(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), False, True),
        (made_of(nn.Linear(3, 3), nn.Dropout(0.5)), False, False),
        (replace(made_of(nn.Linear(3, 3)), make_step=MiniStep), False, False),
        (get_variant("mlp"), True, True),
        (get_variant("lenet_digits"), False, True),
        (get_variant("bnmlp"), False, False),
        (get_variant("disc_mlp"), False, False),
    ],
    ids=["plain", "normalised vectors", "normalised maps", "dropout", "mini", "mlp", "lenet_digits", "bnmlp", "disc"],
)
def test_only_what_can_be_one_graph_is_compiled(variant: Variant, on_cpu: bool, on_gpu: bool) -> None:
    assert can_compile(variant, variant.preset.structure, "cpu") is on_cpu
    assert can_compile(variant, variant.preset.structure, "cuda") is on_gpu


def test_the_structure_decides_whether_it_can_be_one_graph() -> None:
    bnmlp = get_variant("bnmlp")
    plain = bnmlp.preset.replaced({"batch_norm": False, "dropout": 0.0})
    assert can_compile(bnmlp, plain.structure, "cpu")
    assert not can_compile(bnmlp, plain.replaced({"dropout": 0.1}).structure, "cpu")


@pytest.mark.parametrize(
    ("variant", "splits"), [("bnmlp", DIGITS), ("disc_mlp", POINTS)], ids=["drops and normalises", "not of torch"]
)
def test_what_cannot_be_one_graph_trains_without_where_compiling_is_asked_for(
    variant: str, splits: tuple[Dataset, Dataset]
) -> None:
    hypers = make_hypers(variant, 3, 4)
    job = Job(
        variant=get_variant(variant), replicas=tuple(make_replica(*each, splits=splits) for each in enumerate(hypers))
    )
    with Trainer(*splits, Compute(workers=1, device="cpu", compile="on")) as trainer:
        [outcomes] = trainer.run([job])
        assert [chunk["compiled"] for chunk in trainer.composition()["chunks"]] == [False]
    assert [outcome.epochs for outcome in outcomes] == [hyper.epochs for hyper in hypers]
    assert {outcome.status for outcome in outcomes} == {"complete"}


def test_auto_does_not_compile_what_is_over_sooner() -> None:
    job = Job(
        variant=get_variant("mlp_ws_al"), replicas=tuple(map(make_replica, range(3), make_hypers("mlp_ws_al", 3)))
    )
    [chunk] = compose_chunks([job])
    with Trainer(*DIGITS, Compute(workers=1, device="cpu", compile="auto")) as trainer:
        [outcomes] = trainer.run([job])
        assert trainer.composition()["chunks"] == [chunk.composition]
    for one, other in zip(outcomes, ChunkTraining(chunk, *DIGITS).run(lambda _: None), strict=True):
        np.testing.assert_allclose(one.curves["train_loss"], other.curves["train_loss"], rtol=1e-4)

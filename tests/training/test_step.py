"""Compiled steps and CUDA graphs give what operation by operation gives."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.data.digits import DigitSet
from pipeline.training.chunk import ChunkTraining
from pipeline.training.compute import Compute
from pipeline.training.plan import Job, Outcome
from pipeline.training.pool import Trainer
from tests.training.plans import make_chunk, make_hypers, make_replica

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def both(train: DigitSet, held_out: DigitSet, *, device: str) -> tuple[list[Outcome], list[Outcome]]:
    """The same chunk operation by operation and compiled; replicas leave, and the last batch is smaller."""
    hypers = [replace(hyper, weight_decay=0.01) for hyper in make_hypers("mlp_ws_al", 3, batch_size=25)]
    chunk = make_chunk("mlp_ws_al", [make_replica(*numbered) for numbered in enumerate(hypers)], keep_models=True)

    def run(compiled: bool) -> list[Outcome]:
        training = ChunkTraining(replace(chunk, compiled=compiled), train, held_out, dtype=torch.float64, device=device)
        return training.run(lambda _: None)

    return run(False), run(True)


def assert_close(together: tuple[list[Outcome], list[Outcome]]) -> None:
    for eager, compiled in zip(*together, strict=True):
        assert (eager.status, len(eager.train_loss_E)) == (compiled.status, len(compiled.train_loss_E))
        np.testing.assert_allclose(compiled.train_loss_E, eager.train_loss_E, rtol=1e-9)
        np.testing.assert_allclose(compiled.held_out_loss_E, eager.held_out_loss_E, rtol=1e-9)


@needs_compiler
def test_a_compiled_training_equals_an_ordinary_one(train_digits: DigitSet, held_out_digits: DigitSet) -> None:
    assert_close(both(train_digits, held_out_digits, device="cpu"))


@needs_cuda
def test_a_cuda_graph_equals_an_ordinary_training(train_digits: DigitSet, held_out_digits: DigitSet) -> None:
    assert_close(both(train_digits, held_out_digits, device="cuda"))


@needs_cuda
def test_a_gpu_gives_what_the_cpu_gives(train_digits: DigitSet, held_out_digits: DigitSet) -> None:
    on_cpu, _ = both(train_digits, held_out_digits, device="cpu")
    on_gpu, _ = both(train_digits, held_out_digits, device="cuda")
    assert_close((on_cpu, on_gpu))


def test_auto_does_not_compile_what_is_over_sooner(train_digits: DigitSet, held_out_digits: DigitSet) -> None:
    job = Job(variant="mlp_ws_al", replicas=tuple(map(make_replica, range(3), make_hypers("mlp_ws_al", 3))))

    def trained(compile: str) -> tuple[list[Outcome], object]:
        with Trainer(train_digits, held_out_digits, Compute(workers=1, device="cpu", compile=compile)) as trainer:
            [outcomes] = trainer.run([job])
            return outcomes, trainer.composition()["chunks"]

    (probed, composition), (ordinary, expected) = trained("auto"), trained("off")
    assert composition == expected
    for one, other in zip(probed, ordinary, strict=True):
        np.testing.assert_array_equal(one.train_loss_E, other.train_loss_E)

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.training.compute import MAX_CHUNK, MAX_WORKERS, Compute

HAS_GPU = torch.cuda.is_available()


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"device": "cdua"}, "unknown device 'cdua'; did you mean cuda?"),
        ({"device": "cuda:0"}, "unknown device 'cuda:0'; did you mean cuda?"),
        ({"device": "tpu"}, "unknown device 'tpu'; did you mean cpu?"),
        ({"precision": "float16"}, "unknown precision 'float16'; did you mean bfloat16"),
        ({"precision": "double"}, "unknown precision 'double'; choose from: bfloat16, float32"),
        ({"compile": "of"}, "unknown compile 'of'; did you mean off"),
        ({"compile": "true"}, "unknown compile 'true'; choose from: auto, off, on"),
    ],
    ids=str,
)
def test_an_unknown_name_gives_the_near_misses(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        Compute(**wrong)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        *(("workers", value, 1, MAX_WORKERS) for value in (0, -1, MAX_WORKERS + 1)),
        *(("chunk", value, 0, MAX_CHUNK) for value in (-1, MAX_CHUNK + 1)),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_range(name: str, value: int, low: int, high: int) -> None:
    with pytest.raises(InputError, match=f"--{name} must be between {low} and {high}, but got {value}"):
        Compute(**{name: value})  # type: ignore[arg-type]


def test_the_ends_of_the_ranges_are_allowed() -> None:
    Compute(workers=1, chunk=0)
    Compute(workers=MAX_WORKERS, chunk=MAX_CHUNK)


@pytest.mark.skipif(HAS_GPU, reason="needs a machine without a GPU")
class TestWithoutGPU:
    def test_cuda_is_refused_with_the_way_out(self) -> None:
        with pytest.raises(InputError, match=r"--device cuda needs a GPU .* but finds none; choose --device cpu"):
            Compute(device="cuda")

    def test_auto_is_the_cpu_with_all_workers(self) -> None:
        assert Compute(workers=7).resolved() == Compute(workers=7, device="cpu")

    def test_the_params_name_the_device_that_was_used(self) -> None:
        assert Compute().params == {"trained_on": "cpu", "precision": "float32", "compile": "off"}


@pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")
class TestWithGPU:
    @pytest.mark.parametrize("device", ["auto", "cuda"])
    def test_the_gpu_is_used_by_one_worker(self, device: str) -> None:
        assert Compute(workers=7, device=device).resolved() == Compute(workers=1, device="cuda")

    def test_the_params_name_the_device_that_was_used(self) -> None:
        assert Compute().params == {"trained_on": "cuda", "precision": "float32", "compile": "off"}


def test_the_cpu_can_be_chosen_anywhere() -> None:
    chosen = Compute(workers=3, device="cpu", precision="bfloat16", compile="auto", chunk=5)
    assert chosen.resolved() == chosen
    assert chosen.params == {"trained_on": "cpu", "precision": "bfloat16", "compile": "auto"}


def test_the_params_are_all_that_a_result_may_depend_on_but_for_the_chunks() -> None:
    some, others = Compute(workers=1, chunk=2, device="cpu"), Compute(workers=2, chunk=3, device="cpu")
    assert some.params == others.params

"""Products of two square matrices: the most that the machine can do."""

from __future__ import annotations

import torch

from benchmarks.work import GEMM_SIZE, Curves, Task, Training


def build(task: Task, _replicas: range) -> Training:
    """An "epoch" is one product."""
    torch.set_num_threads(task.threads)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(GEMM_SIZE, GEMM_SIZE, generator=generator) for _ in range(2))
    product = torch.empty(GEMM_SIZE, GEMM_SIZE)

    def run(products: int) -> Curves:
        for _ in range(products):
            torch.mm(a, b, out=product)
        return Curves(loss_E=[], held_out_error_E=[])

    return run

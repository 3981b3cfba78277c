from __future__ import annotations

import torch

from pipeline.training.machine import MACHINE, UNKNOWN, arithmetic, processor, this_machine


def test_a_machine_is_described_by_what_results_depend_on() -> None:
    machine = this_machine()
    assert tuple(machine) == MACHINE
    assert machine["cpu_capability"] in torch.__config__.show()
    assert machine["torch"].startswith(torch.__version__.partition("+")[0])
    assert machine["torch_build"].startswith(f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU")
    assert machine["processor"] == processor() != ""


def test_what_decides_the_last_digits_is_named_where_it_is_known() -> None:
    assert arithmetic({**UNKNOWN, "cpu_capability": "AVX2", "torch": "2.14.1+cpu"}) == "AVX2 and torch 2.14.1+cpu"
    assert arithmetic(UNKNOWN) == arithmetic({}) == ""

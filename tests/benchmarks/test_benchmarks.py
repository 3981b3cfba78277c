from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import harness, own
from benchmarks.__main__ import main
from benchmarks.cells import Cell, Ratio, engine_table, ratio_table, time_table
from benchmarks.contestants import ChildContestant
from benchmarks.engine import COLUMNS, gains, make_job, open_engine
from benchmarks.harness import Plan, open_peers, plan_tasks
from benchmarks.jobs import JOB_TABLES, Row, RowTimes, time_rows
from benchmarks.machine import Hardware, this_machine
from benchmarks.measure import TOLERANCE, measure_cell, measure_peak
from benchmarks.page import NO_NOTES, Page, Section
from benchmarks.peers import Peer, library_peers, plain_peers
from benchmarks.sections import job_section
from benchmarks.work import GEMM_FLOPS, Curves, Task, flops_per_epoch
from pipeline.base.errors import InputError, StageError
from pipeline.data.dataset import Dataset
from pipeline.reports.tables import Table
from tests.training.plain import train_plain

CELL = Cell(
    model="mlp",
    batch_size=8,
    flops=3e9,
    plain=("plain 1", "plain 2"),
    seconds={
        "plain 1": (8.0, 4.0, 6.0),
        "plain 2": (5.0, 9.0, 9.0),
        "jax": (1.0, 4.0, 2.0),
        "float32": (1.0, 1.0, 3.0),
    },
)


MODELS = ("mlp_ws_al", "mlp3", "bncnn_al", "resnet4_ws_al", "lenet_digits", "alexnet_digits")
"""One of each objective and each form of output, and those that are measured by default."""


@pytest.fixture(scope="session")
def task(train_digits: Dataset, held_out_digits: Dataset) -> Task:
    return Task(
        model="mlp_ws_al", batch_size=20, train=train_digits, held_out=held_out_digits, pairs=50, held_out_pairs=30
    )


@pytest.fixture(scope="module")
def references(task: Task) -> dict[str, list[float]]:
    """The training losses of replica 0 by an ordinary loop in float64."""
    losses = {}
    for model in MODELS:
        job = make_job(replace(task, model=model), 1, epochs=3)
        losses[model] = train_plain(job.variant, job.replicas[0], task.train, task.held_out).curves["train_loss"]
    return losses


class FakeContestant:
    """Needs no time, and learns at a rate of its own."""

    replicas = 1
    least_epochs = 1

    def __init__(self, name: str, loss: float) -> None:
        self.name, self.loss = name, loss
        self.trained: list[int] = []

    def fits(self, _task: Task) -> bool:
        return True

    def prepare(self, task: Task) -> None:
        self.threads = task.threads

    def train(self, epochs: int) -> Curves:
        self.trained.append(epochs)
        return Curves(loss_E=[self.loss / (epoch + 1) for epoch in range(epochs)], held_out_error_E=[0.0] * epochs)


def test_ratios_are_paired_with_the_better_loop_of_each_round() -> None:
    assert CELL.rounds_of("plain") == (5.0, 4.0, 6.0)
    assert CELL.ratio("plain", "float32") == Ratio(median=4.0, low=2.0, high=5.0)
    assert CELL.ratio("jax", "float32") == Ratio(median=1.0, low=2 / 3, high=4.0)
    assert CELL.ratio("skorch", "float32") is None
    assert CELL.better_plain == "plain 1"


def test_share_of_peak() -> None:
    assert CELL.share_of_peak("float32", peak=6e9) == 0.5
    assert CELL.share_of_peak("compiled", peak=6e9) is None


def test_tables_show_medians_and_leave_a_dash_for_who_did_not_take_part() -> None:
    times = time_table([CELL], ["skorch", "jax", "float32"])
    assert times.headers == ["model", "batch", "plain 1", "plain 2", "skorch", "jax", "float32", "GFLOP"]
    assert times.rows == [["`mlp`", "8", "6000.00", "9000.00", "-", "2000.00", "1000.00", "3.00"]]
    ratios = ratio_table([CELL], ["skorch", "float32"])
    assert ratios.rows == [["`mlp`", "8", "plain 1", "-", "4.00 [2.00, 5.00]"]]
    assert engine_table([CELL], ["float32", "compiled"], 6e9).rows == [
        ["`mlp`", "8", "1.00 [0.67, 4.00]", "-", "50%", "-"]
    ]


def test_a_whole_job_is_extrapolated_with_and_without_reading_off() -> None:
    row = Row(model="mlp", batch_size=25, epochs=(25, 50), replicas=100, pairs=900, held_out_pairs=100)
    times = RowTimes(row=row, plain_epoch=0.1, threads=1, plain_measured=3, engine_part=2.0, engine_measured=200)
    assert (times.plain, times.plain_once, times.engine) == (750.0, 500.0, 50.0)
    text = job_section(JOB_TABLES[1], [times]).markdown()
    assert "12 min 30 s (1 thr.)" in text
    assert "| 15.00 | 10.00" in text
    assert "3 of 7500" in text
    assert "200 of 5000" in text


def test_the_tables_of_the_report_hold_their_rows() -> None:
    evaluations, cross_validations = (table.rows for table in JOB_TABLES)
    assert [(row.model, row.epochs, row.replicas) for row in evaluations][::7] == [
        ("mlp", (25,), 20),
        ("convnet_ws_al", (50,), 20),
    ]
    assert [(row.model, row.batch_size) for row in cross_validations] == [
        (model, size) for model in ("mlp", "convnet") for size in (25, 50, 100)
    ]


def make_page(machine: Hardware, value: int) -> Page:
    sections = [Section(title="Time", tables=[Table(["model"], [[value]])], text="About it.\n")]
    return Page(day=date(2026, 1, 2), hardware=machine, versions={"Python": "3"}, sections=sections)


def test_a_page_keeps_the_notes_of_the_file_that_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.md"
    make_page(this_machine(), 1).write(path)
    assert path.read_text().endswith(NO_NOTES)
    path.write_text(path.read_text().replace("None yet.", "Mine.\n\n## Of my own\n\nMore."))
    make_page(this_machine(), 2).write(path)
    text = path.read_text()
    assert text.endswith("\n## Notes\n\nMine.\n\n## Of my own\n\nMore.\n")
    assert "| 2     |" in text
    assert "| 1     |" not in text


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.md"
    path.write_text("before")

    def fail(*_args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make_page(this_machine(), 1).write(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize(
    ("cpu", "gpu", "slug"),
    [
        ("AMD EPYC", "", "amd-epyc-2-cores"),
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "", "intel-core-i7-8550u-2-cores"),
        ("arm", "NVIDIA H100 80GB", "arm-2-cores-nvidia-h100-80gb"),
    ],
)
def test_a_page_is_named_after_the_hardware(cpu: str, gpu: str, slug: str) -> None:
    machine = Hardware(cpu=cpu, cores=2, memory_gib=8, caches={}, gpu=gpu)
    assert machine.slug == slug
    assert make_page(machine, 1).default_path.name == f"2026-01-02-{slug}.md"


def test_flops_are_those_of_the_layers_without_the_gradient_of_the_input(task: Task) -> None:
    trunk = 4 * 196 * 256 + 6 * (256 * 128 + 128 * 10)
    head = 6 * (20 * 100 + 100 * 2)
    assert flops_per_epoch(task) == 50 * (2 * trunk + head)


def test_all_contestants_take_turns_for_all_rounds(task: Task) -> None:
    plain, other = FakeContestant("plain 1", 1.0), FakeContestant("jax", 1.2)
    notes: list[str] = []
    cell = measure_cell(task, {4: plain}, [other], repeats=3, step=notes.append)
    assert {name: len(seconds) for name, seconds in cell.seconds.items()} == {"plain 1": 3, "jax": 3}
    assert notes == ["plain 1", "jax", "round 1 of 3", "round 2 of 3", "round 3 of 3"]
    assert other.threads == 4


def test_who_does_not_train_ends_the_run(task: Task) -> None:
    lazy = FakeContestant("lazy", 1.3)
    with pytest.raises(StageError, match=r"within 25% of the plain loop's 0.3333 .* that of lazy is 0.4333"):
        measure_cell(task, {1: FakeContestant("plain 1", 1.0)}, [lazy], repeats=1, step=lambda _: None)


def test_the_peak_counts_all_processes() -> None:
    gemm = FakeContestant("GEMM", 1.0)
    assert measure_peak(gemm, products=3) > GEMM_FLOPS
    assert gemm.trained == [1, 3]


def skip_unless_installed(peer: Peer) -> None:
    """Not with importorskip: JAX, once imported, makes every later fork of this process a warning."""
    if not peer.is_installed:
        pytest.skip(f"{peer.library} is not installed")


@pytest.mark.parametrize("peer", [*plain_peers(2).values(), *library_peers(1)], ids=lambda peer: peer.name)
def test_every_peer_trains_every_model_that_it_says(peer: Peer, task: Task, references: dict[str, list[float]]) -> None:
    skip_unless_installed(peer)
    trained = []
    with open_peers([peer]) as (contestant,):
        for model in MODELS:
            if not contestant.fits(replace(task, model=model)):
                continue
            contestant.prepare(replace(task, model=model))
            curves = contestant.train(3)
            assert len(curves.held_out_error_E) == 3
            assert all(0 <= error <= 1 for error in curves.held_out_error_E)
            assert curves.loss_E == pytest.approx(references[model], rel=TOLERANCE), model
            trained.append(model)
    assert trained == (["mlp_ws_al"] if peer.families else list(MODELS))


@pytest.mark.parametrize("model", ["mlp", "mlp_ws"])
def test_jax_trains_every_mlp_and_nothing_else(model: str, task: Task) -> None:
    plain, jax = plain_peers(1)[1], library_peers(1)[-1]
    skip_unless_installed(jax)
    with open_peers([plain, jax]) as contestants:
        for contestant in contestants:
            contestant.prepare(replace(task, model=model, batch_size=50))
        losses = [contestant.train(1).loss_E[0] for contestant in contestants]
        assert losses[1] == pytest.approx(losses[0], rel=0.02)
        assert not contestants[1].fits(replace(task, model="convnet"))


def test_a_peer_that_fails_is_told_with_its_error_and_leaves_no_process(task: Task) -> None:
    with open_peers([plain_peers(1)[1]]) as (contestant,):
        with pytest.raises(StageError, match=r"plain 1 failed:[\s\S]*a round of 500 pairs"):
            contestant.prepare(replace(task, pairs=500))
        contestant.prepare(task)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_told() -> None:
    with ChildContestant(Peer(name="plain 1", module="plain", library="torch")) as contestant:
        contestant.wait_until_ready()
        for child in multiprocessing.active_children():
            child.kill()
        with pytest.raises(StageError, match="a process of plain 1 died"):
            contestant.train(1)


def test_the_engine_trains_in_a_cell_and_in_a_whole_job(task: Task, references: dict[str, list[float]]) -> None:
    digits = (task.train, task.held_out)
    row = Row(model=task.model, batch_size=20, epochs=(1, 2), replicas=4, pairs=50, held_out_pairs=30)
    with open_engine("float32", *digits, 1) as engine:
        for model in MODELS:
            engine.prepare(replace(task, model=model))
            assert engine.train(3).loss_E == pytest.approx(references[model], rel=TOLERANCE), model
        plain = {1: FakeContestant("plain 1", 1.0)}
        (times,) = time_rows([row], engine, plain, digits, True, lambda _: None)
        assert times.engine_measured == times.engine_planned == 8


def test_columns_of_the_engine_are_for_models_that_gain(task: Task) -> None:
    assert [gains(column, task) for column in COLUMNS] == [True, True, True]
    for model in ("convnet", "bnmlp", "alexnet_digits"):
        assert [gains(column, replace(task, model=model)) for column in COLUMNS] == [True, True, False]


def make_plan(*models: str) -> Plan:
    return Plan(
        models=list(models),
        batch_sizes=None,
        contestants=[],
        repeats=1,
        workers=1,
        jobs=False,
        own=False,
        whole=False,
        cache_dir=Path(),
    )


def test_networks_of_ones_own_are_measured_by_each_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own, "EPOCHS", 1)
    threads = torch.get_num_threads()
    cells = own.measure_own(tmp_path, 1, lambda _: None)
    assert [cell.way for cell in cells] == ["stacked"] * 2 + ["vmapped"] * 5 + ["one by one"] * 2
    assert all(len(cell.by_hand) == len(cell.by_replicas[count]) == 1 for cell in cells for count in own.REPLICAS)
    assert [row[0] for row in own.own_table(cells).rows] == [name for name, *_ in own.NETWORKS.values()]
    assert torch.get_num_threads() == threads


def test_what_is_not_a_model_of_digits_is_skipped_with_a_line(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    splits = (task.train, task.held_out)
    tasks = plan_tasks(make_plan("disc_mlp", "mlp", "mpl"), splits)
    assert {part.model for part in tasks} == {"mlp"}
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"{model} is not a model of digits in the registry; it is skipped" for model in ("disc_mlp", "mpl")
    ]
    with pytest.raises(InputError, match=r"must name a model of digits in the registry; choose from: alexnet_digits,"):
        plan_tasks(make_plan("disc_mlp"), splits)


def test_heavy_networks_are_measured_at_the_largest_batch_alone(task: Task) -> None:
    tasks = plan_tasks(make_plan("mlp", "resnet4_ws_al"), (task.train, task.held_out))
    assert [(part.model, part.batch_size) for part in tasks] == [
        *(("mlp", size) for size in (8, 25, 100)),
        ("resnet4_ws_al", 100),
    ]


@pytest.mark.parametrize("model", ["alexnet_digits", "bnmlp", "resnet4_ws_al", "mlp_ws_al"])
def test_every_model_is_trained_by_adam_without_schedule_and_decay(model: str, task: Task) -> None:
    variant = replace(task, model=model).variant
    hyper = replace(task, model=model).hyper(5)
    assert (hyper.optimiser, hyper.schedule, hyper.weight_decay) == ("adam", "constant", 0.0)
    assert (hyper.lr, hyper.batch_size, hyper.epochs) == (1e-3, 20, 5)
    assert (hyper.alpha, hyper.structure) == (variant.preset.alpha, variant.preset.structure)
    assert variant.check(hyper) is hyper


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contestants", "jaxx"], "unknown name 'jaxx'; did you mean jax?"),
        (["--batch-sizes", "8,x"], "batch sizes must be whole numbers from 1 to 1000 between commas, but got '8,x'"),
    ],
)
def test_bad_input_costs_nothing(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_each_worker_needs_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "this_machine", lambda: Hardware(cpu="arm", cores=1, memory_gib=8, caches={}))
    result = CliRunner().invoke(main, ["--workers", "2"])
    assert result.exit_code == 2
    assert "there is 1 core for --workers 2" in result.output

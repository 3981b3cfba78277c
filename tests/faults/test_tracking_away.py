"""The tracking server is gone in the middle of a search: training goes on, and what there is to log is not lost."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.invariants import Table, check_whole, more_trials, table
from tests.faults.scale import FEW_TRIALS, FULL, scaled
from tests.faults.searches import ENDLESS, Watch, complete, search, searching
from tests.faults.tracking_server import Server
from tests.functional.conftest import Workplace
from tests.waiting import wait_until

log = logging.getLogger(__name__)
AWAY_SECONDS = scaled(30, 5)
TRIALS = scaled(60, FEW_TRIALS)
LONGEST_STALL = 1.0
"""Seconds for which training may wait in all."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.mark.parametrize("how", ["dies", *(["hangs"] if FULL else [])])
def test_what_could_not_be_sent_is_sent_later(
    server: Server, tmp_path: Path, how: str, uninterrupted: Callable[[int], Table]
) -> None:
    workplace = Workplace(tmp_path, tracking=server.url)
    with searching(workplace, *search(workplace, TRIALS), changed_by=("tell_stalls",)) as process:
        watch = Watch(workplace)
        wait_until(lambda: watch.finished() >= 4, process)
        away_since = time.monotonic()
        if how == "dies":
            server.stop()
        else:
            server.send(signal.SIGSTOP)
        told = watch.finished()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=AWAY_SECONDS)
        assert process.poll() is None
        assert watch.finished() > told, "nothing was searched while the server was away"
        if how == "dies":
            server.start()
        else:
            server.send(signal.SIGCONT)
        assert time.monotonic() - away_since >= AWAY_SECONDS
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "the tracking store does not answer; the search goes on" in output
    check_whole(workplace, TRIALS)
    assert table(workplace) == uninterrupted(TRIALS)
    stalls = [float(seconds) for seconds in re.findall(r"training waited ([\d.]+) s", output)]
    log.info("%s for %d s: training waited %.2f s in %d generations", how, AWAY_SECONDS, sum(stalls), len(stalls))
    assert len(stalls) >= TRIALS // 2
    if FULL:  # nothing else runs beside
        assert sum(stalls) <= LONGEST_STALL


def test_a_server_that_is_away_does_not_hold_up_an_interruption(server: Server, tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, tracking=server.url)
    with searching(workplace, *search(workplace, ENDLESS)) as process:
        watch = Watch(workplace)
        wait_until(lambda: watch.finished() >= 2, process)
        server.stop()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=5)
    server.start()
    assert "processes that died had left" in complete(workplace, more_trials(workplace))
    assert "RUNNING" not in {run.info.status for run in workplace.runs()}

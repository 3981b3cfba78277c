"""One process searches a study; others wait, and take over from one that has died or does not beat any more."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import Queue

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import update

from pipeline.base.errors import InputError
from pipeline.base.processes import process_tag
from pipeline.tuning import lease
from pipeline.tuning.lease import Lease, LeaseLostError, free_abandoned, leased, leases, left_running
from pipeline.tuning.storage import LEASES, Storage, open_storage
from tests.waiting import wait_until

ELSEWHERE = "elsewhere:7:a.b.c.1"


@pytest.fixture
def storage(path: Path) -> Storage:
    return open_storage(f"sqlite:///{path}")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)


@pytest.fixture
def running(storage: Storage) -> optuna.Study:
    """A study with a finished and a running trial."""
    study = optuna.create_study(storage=storage, study_name="study")
    study.tell(study.ask(), 0.5)
    study.ask()
    return study


def dead_tag() -> str:
    """Of a process of this machine that has ended."""
    host, pid, start = process_tag().rsplit(":", 2)
    return f"{host}:{pid}:{start}0"


def give(storage: Storage, owner: str) -> None:
    with storage.engine.begin() as connection:
        connection.execute(LEASES.insert().values(study="study", token=3, owner=owner, beat=5))


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.get_trials()]


def test_a_lease_is_held_inside_and_free_afterwards(storage: Storage) -> None:
    for token in (1, 2):
        with leased(storage, "study", pytest.fail) as given_up:
            assert given_up == ""
            held = leases(storage)["study"]
            assert (held.token, held.owner) == (token, process_tag())
        assert leases(storage) == {}


def test_it_beats(storage: Storage) -> None:
    with leased(storage, "study", pytest.fail):
        wait_until(lambda: leases(storage)["study"].beat >= 3)


def test_another_process_is_waited_for_and_followed(storage: Storage, path: Path) -> None:
    said: Queue[str] = Queue()
    entered = threading.Event()

    def wait() -> None:
        with leased(open_storage(f"sqlite:///{path}"), "study", said.put):
            entered.set()

    with leased(storage, "study", pytest.fail):
        second = threading.Thread(target=wait)
        second.start()
        assert "this one waits" in said.get(timeout=60)
        assert not entered.is_set()
    second.join(60)
    assert entered.is_set()
    assert "searches study study now" in said.get(timeout=60)


def test_a_dead_process_of_this_machine_is_followed_at_once(storage: Storage) -> None:
    give(storage, dead_tag())
    with leased(storage, "study", pytest.fail):
        assert leases(storage)["study"].token == 4


def test_one_elsewhere_is_given_up_when_it_does_not_beat_and_named(storage: Storage) -> None:
    give(storage, ELSEWHERE)
    said: list[str] = []
    with leased(storage, "study", said.append) as given_up:
        assert given_up == ELSEWHERE
    assert said[0].startswith("study study is searched by process 7 on elsewhere")


def test_one_elsewhere_that_beats_is_not_given_up(storage: Storage) -> None:
    """However long it takes: what counts is that the beat changes, and not what time it is anywhere."""
    give(storage, ELSEWHERE)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        owner = ELSEWHERE if looks < 3 * lease.GRACE_LOOKS else ""
        if looks % (lease.GRACE_LOOKS - 1) == 0 or not owner:
            with storage.engine.begin() as connection:
                connection.execute(update(LEASES).values(beat=looks, owner=owner))

    with leased(storage, "study", lambda line: None, look) as given_up:
        assert given_up == ""
    assert looks >= 3 * lease.GRACE_LOOKS


def test_who_has_no_use_in_waiting_does_not_wait(storage: Storage) -> None:
    give(storage, ELSEWHERE)

    def refuse() -> None:
        raise InputError("another space")

    with pytest.raises(InputError, match="another space"), leased(storage, "study", pytest.fail, refuse):
        pass
    assert leases(storage)["study"] == Lease(3, ELSEWHERE, 5)


def test_who_was_followed_writes_nothing_any_more(storage: Storage, running: optuna.Study) -> None:
    def work() -> None:
        with leased(storage, "study", pytest.fail):
            with storage.engine.begin() as connection:
                connection.execute(update(LEASES).values(token=LEASES.c.token + 1, owner=ELSEWHERE))
            with pytest.raises(LeaseLostError):
                running.tell(1, 0.25)
            raise LeaseLostError("as the search ends")

    with pytest.raises(LeaseLostError, match="as the search ends"):
        work()
    assert states(running) == [TrialState.COMPLETE, TrialState.RUNNING]
    assert leases(storage)["study"].owner == ELSEWHERE


def test_running_trials_wait_once_their_search_has_ended(storage: Storage, running: optuna.Study) -> None:
    with leased(storage, "study", pytest.fail):
        assert states(running) == [TrialState.COMPLETE, TrialState.RUNNING]
    assert states(running) == [TrialState.COMPLETE, TrialState.WAITING]


def test_trials_of_dead_processes_wait_and_those_of_others_run_on(storage: Storage, running: optuna.Study) -> None:
    assert left_running(storage) == {"study": 1}
    give(storage, ELSEWHERE)
    assert free_abandoned(storage) == 0
    assert left_running(storage) == {}
    with storage.engine.begin() as connection:
        connection.execute(update(LEASES).values(owner=dead_tag()))
    assert left_running(storage) == {"study": 1}
    assert free_abandoned(storage) == 1
    assert states(running) == [TrialState.COMPLETE, TrialState.WAITING]
    assert not leases(storage)
    assert not left_running(storage)

"""The lease of a study: which process searches it.

Trials of a batch train together, on all cores, and what trains beside a trial decides its last bits. So of all
processes that are started on a study one searches; the others wait, and go on from where it is when it ends or dies.

The holder shows that it lives by a beat that is counted and not timed, since clocks of two machines may differ. One
that was stopped for too long, and wakes after another has taken over, is kept from writing by the lease's token: every
transaction begins with a look at it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import sqlalchemy
from optuna.trial import TrialState
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from pipeline.base.errors import StageError
from pipeline.base.interruptions import held
from pipeline.base.processes import is_dead, process_tag, show_process
from pipeline.tuning.records import running
from pipeline.tuning.storage import LEASES, DatabaseAwayError, Storage

BEAT_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""Between two looks of a process that waits."""
GRACE_LOOKS = 30
"""How many times in succession a beat has to be found unchanged before its process is given up. Looks are counted, and
not seconds, so that a machine that slept does not wake to find everybody dead."""


class LeaseLostError(StageError):
    """Another process searches the study by now."""


class Lease(NamedTuple):
    """A study's lease as it stands in the database."""

    token: int
    """Counts the holders."""
    owner: str
    """Tag of the holder's process; empty when there is none."""
    beat: int


@contextmanager
def leased(
    storage: Storage, study: str, say: Callable[[str], None], check: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Search a study alone: waits while another process does, and yields the tag of one that was given up for dead.

    `check` is called before each look, and raises if there is no use in waiting. Inside, every transaction on the
    storage raises LeaseLostError once another process has taken over.
    """
    token, given_up = _wait_for(storage, study, say, check)

    def fence(connection: sqlalchemy.Connection) -> None:
        look = select(LEASES.c.token).where(LEASES.c.study == study).with_for_update(read=True)
        if connection.execute(look).scalar() != token:
            raise LeaseLostError(
                f"one process searches a study at a time, but while this one was stopped another one has taken over "
                f"{study!r}; what it had not told yet is discarded; the same command waits for the other one"
            )

    done = threading.Event()
    heart = threading.Thread(target=_beat, args=(storage, study, token, done), name="lease", daemon=True)
    storage.fence = fence
    heart.start()
    try:
        yield given_up
    finally:
        done.set()
        heart.join(BEAT_SECONDS)
        with suppress(DatabaseAwayError, StageError), held():
            put_back(storage, study)
            _release(storage, study, token)
        storage.fence = None


def leases(storage: Storage) -> dict[str, Lease]:
    """The leases that somebody holds, by study."""
    with storage.engine.begin() as connection:
        rows = connection.execute(select(LEASES).where(LEASES.c.owner != "")).all()
    return {row.study: Lease(row.token, row.owner, row.beat) for row in rows}


def free_abandoned(storage: Storage) -> int:
    """Put the trials back that dead processes of this machine left running; how many there were.

    They wait in the order of their numbers, and the next search of their study takes them up.
    """
    freed = 0
    for study, lease in leases(storage).items():
        if is_dead(lease.owner):
            taken = _take(storage, study, lease)
            if isinstance(taken, int):
                freed += put_back(storage, study)
                _release(storage, study, taken)
    return freed


def left_running(storage: Storage) -> dict[str, int]:
    """Study -> how many of its trials run although no living process is known to search it."""
    held = leases(storage)
    return {
        study: len(trials)
        for study, trials in running(storage).items()
        if study not in held or is_dead(held[study].owner)
    }


def put_back(storage: Storage, study: str) -> int:
    """Let the running trials of a study wait; how many there were."""
    trials = running(storage).get(study, [])
    for trial_id in trials:
        storage.set_trial_state_values(trial_id, TrialState.WAITING)
    return len(trials)


def _wait_for(storage: Storage, study: str, say: Callable[[str], None], check: Callable[[], None]) -> tuple[int, str]:
    """The token of the new lease, and the tag of the process that was given up for it, if one was."""
    seen: Lease | None = None
    unchanged = 0
    while True:
        storage.retry(check)
        given_up = seen if unchanged >= GRACE_LOOKS else None
        taken = storage.retry(lambda given_up=given_up: _take(storage, study, given_up))  # type: ignore[misc]
        if isinstance(taken, int):
            if seen is not None:
                say(f"this process searches study {study} now")
            return taken, seen.owner if given_up and seen else ""
        if seen is None or taken.token != seen.token:
            say(
                f"study {study} is searched by {show_process(taken.owner)}; this one waits, and goes on when that one "
                f"ends or dies"
            )
        unchanged = unchanged + 1 if taken == seen else 0
        seen = taken
        time.sleep(LOOK_SECONDS)


def _row(study: str) -> sqlalchemy.Select[tuple[int, str, int]]:
    return select(LEASES.c.token, LEASES.c.owner, LEASES.c.beat).where(LEASES.c.study == study)


def _take(storage: Storage, study: str, given_up: Lease | None) -> Lease | int:
    """The token of this process's lease; or the one that somebody else has."""
    me = process_tag()
    try:
        with storage.engine.begin() as connection:
            row = connection.execute(_row(study).with_for_update()).first()
            if row is None:
                connection.execute(insert(LEASES).values(study=study, token=1, owner=me, beat=0))
                return 1
            lease = Lease(*row)
            if lease.owner and lease != given_up and not is_dead(lease.owner):
                return lease
            taken = {"token": lease.token + 1, "owner": me, "beat": 0}
            connection.execute(update(LEASES).where(LEASES.c.study == study).values(taken))
            return lease.token + 1
    except IntegrityError:  # somebody else was the first
        return _take(storage, study, given_up)


def _beat(storage: Storage, study: str, token: int, done: threading.Event) -> None:
    mine = (LEASES.c.study == study) & (LEASES.c.token == token)
    while not done.wait(BEAT_SECONDS):
        with suppress(DatabaseAwayError, StageError), storage.engine.begin() as connection:
            connection.execute(update(LEASES).where(mine).values(beat=LEASES.c.beat + 1))


def _release(storage: Storage, study: str, token: int) -> None:
    with storage.engine.begin() as connection:
        mine = (LEASES.c.study == study) & (LEASES.c.token == token)
        connection.execute(update(LEASES).where(mine).values(owner=""))

"""Reads from Optuna's tables what Optuna itself reads with everything beside it.

It builds every trial from seven tables: for 20,000 trials that takes half a minute and 2 GiB. What a search needs to
know of its trials stands in three, and comes in one query. The attributes of a study hold the notes of all its trials.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from optuna.trial import TrialState
from pydantic_core import from_json
from sqlalchemy import DateTime, Float, Row, String, and_, cast, column, func, select, table

from pipeline.base.stored import SAMPLES, TRIAL_BATCH
from pipeline.models.hyperparameters import Hyperparameters
from pipeline.tuning.storage import Storage
from pipeline.tuning.trials import State, TrialRecord, searched

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
BEGUN, FOUND = "variantlab:begun", "variantlab:found"
"""System attributes of a trial: what was to be tried, and what it gave."""
ARTIFACTS = "artifacts:"
"""How Optuna begins the names of attributes that hold what is known of a file."""
_NOTHING = '{"curves": {}, "fold_errors": [], "reason": "", "source": "", "replica_epochs": 0, "seconds": 0}'
"""What is known of a trial that was ended by somebody else."""
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}

_studies = table("studies", column("study_id"), column("study_name"))
_trials = table(
    "trials",
    *map(column, ("trial_id", "study_id", "number", "state")),
    column("datetime_start", DateTime),
    column("datetime_complete", DateTime),
)
# PostgreSQL keeps states as a type of its own, which compares with no text.
_state = cast(_trials.c.state, String)
_begun, _found = (
    table("trial_system_attributes", *map(column, ("trial_id", "key", "value_json"))).alias(name)
    for name in ("begun", "found")
)
_attributes = table("study_system_attributes", *map(column, ("study_id", "key", "value_json")))
_score, _cost = (
    table("trial_values", *map(column, ("trial_id", "objective", "value_type")), column("value", Float)).alias(name)
    for name in ("score", "cost")
)


def finished_since(storage: Storage, study: str, first: int = 0) -> list[TrialRecord]:
    """The finished trials of a study from number `first` on, by number.

    Those that other programs have added are left out. Raises KeyError if there is no such study.
    """
    ended = [state.name for state in STATES]
    query = (
        select(
            *(_trials.c.number, _state.label("state"), _trials.c.datetime_start, _trials.c.datetime_complete),
            *(_begun.c.value_json.label("begun"), _found.c.value_json.label("found")),
            *(_score.c.value.label("score"), _score.c.value_type.label("score_type")),
            *(_cost.c.value.label("cost"), _cost.c.value_type.label("cost_type")),
        )
        .join_from(_trials, _begun, and_(_begun.c.trial_id == _trials.c.trial_id, _begun.c.key == BEGUN))
        .outerjoin(_found, and_(_found.c.trial_id == _trials.c.trial_id, _found.c.key == FOUND))
        .outerjoin(_score, and_(_score.c.trial_id == _trials.c.trial_id, _score.c.objective == 0))
        .outerjoin(_cost, and_(_cost.c.trial_id == _trials.c.trial_id, _cost.c.objective == 1))
        .where(_trials.c.study_id == storage.get_study_id_from_name(study))
        .where(_trials.c.number >= first, _state.in_(ended), _begun.c.value_json != "null")
        .order_by(_trials.c.number)
    )
    with storage.engine.begin() as connection:
        return [_record(row) for row in connection.execute(query)]


def count_trials(storage: Storage, study_id: int) -> int:
    """How many trials a study has, in whatever state; Optuna's `get_n_trials` reads them all to count them."""
    with storage.engine.begin() as connection:
        found = select(func.count()).select_from(_trials).where(_trials.c.study_id == study_id)
        return int(connection.execute(found).scalar_one())


def first_unfinished(storage: Storage, study_id: int) -> int:
    """The least number of a trial that has not ended, or that does not exist."""
    unfinished = _state.not_in([state.name for state in STATES])
    with storage.engine.begin() as connection:
        found = select(func.min(_trials.c.number)).where(_trials.c.study_id == study_id, unfinished)
        first = connection.execute(found).scalar()
    return count_trials(storage, study_id) if first is None else int(first)


def running(storage: Storage) -> dict[str, list[int]]:
    """Study -> the ids of its trials that are RUNNING, by number."""
    query = (
        select(_studies.c.study_name, _trials.c.trial_id)
        .join_from(_trials, _studies, _studies.c.study_id == _trials.c.study_id)
        .where(_state == TrialState.RUNNING.name)
        .order_by(_trials.c.number)
    )
    found = defaultdict[str, list[int]](list)
    with storage.engine.begin() as connection:
        for name, trial_id in connection.execute(query):
            found[name].append(trial_id)
    return found


def study_files(storage: Storage, study_id: int) -> dict[str, str]:
    """File name -> artifact id, of the files that are kept with a study itself."""
    query = select(_attributes.c.value_json).where(
        _attributes.c.study_id == study_id, _attributes.c.key.startswith(ARTIFACTS)
    )
    with storage.engine.begin() as connection:
        found = [from_json(from_json(kept)) for kept in connection.execute(query).scalars()]
    return {meta["filename"]: meta["artifact_id"] for meta in found}


def _record(row: Row[Any]) -> TrialRecord:
    begun = from_json(row.begun)
    found = from_json(_NOTHING if row.found is None else from_json(row.found))
    state = STATES[TrialState[row.state]]
    complete = state == "complete"
    begin, end = begun[TRIAL_BATCH]
    started, ended = _local(row.datetime_start), _local(row.datetime_complete)
    if ended < started:  # the clock was set back
        ended = started + timedelta(seconds=found["seconds"])
    return TrialRecord(
        number=row.number,
        state=state,
        error=searched(found["curves"], found.get("metric", "error"))[-1] if complete else None,
        score=_objective(row.score, row.score_type) if complete else None,
        cost=_objective(row.cost, row.cost_type) if complete else None,
        hyper=Hyperparameters.of(begun["config"]),
        samples=begun[SAMPLES],
        draw=begun["draw"],
        batch=(begin, end),
        enqueued=begun.get("enqueued"),
        **found,
        started=started,
        ended=ended,
    )


def _objective(value: float | None, kind: str | None) -> float | None:
    return _INFINITE.get(kind or "", value)


def _local(moment: datetime) -> datetime:
    """A time as Optuna gives it, which is local and without a zone; in its tables it is UTC."""
    return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)

"""What the processes of the storage tests do."""

from __future__ import annotations

import optuna

from pipeline.tuning.storage import open_storage

STUDY = "queue"


def ask_all_queued(url: str) -> list[int]:
    """Ask until nothing is queued; the labels of the queued trials that this process was handed."""
    study = optuna.load_study(study_name=STUDY, storage=open_storage(url))
    labels: list[int] = []
    while (label := study.ask().user_attrs.get("label")) is not None:
        labels.append(label)
    return labels


def open_fresh(url: str) -> int:
    """Open a database that may not exist, and write to it."""
    study = optuna.create_study(study_name=STUDY, storage=open_storage(url), load_if_exists=True)
    return study.ask().number

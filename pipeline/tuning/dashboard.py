"""What people see of a study in optuna-dashboard: notes, files, and addresses of its pages.

Notes are written in the format of optuna-dashboard 0.21 and not by its `save_note`, which takes two seconds to import
and reads all notes of the study to write one.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.trial import FrozenTrial

from pipeline.base.files import full_place, is_no_space, no_space, writable_folder
from pipeline.tuning.records import study_files
from pipeline.tuning.storage import Storage

ADDRESS = "http://127.0.0.1:8080/dashboard"
"""Where `optuna-dashboard` listens."""
NOTE_LENGTH = 2000
"""Characters that a note is cut to: one attribute holds 2,045."""


class StudyPages:
    """The pages of one study, and what is shown on them."""

    def __init__(self, storage: Storage, study: str, artifacts: str) -> None:
        """`artifacts` is the folder of files. Raises InputError when it cannot be written."""
        self._storage, self._study = storage, study
        self._study_id = storage.retry(lambda: storage.get_study_id_from_name(study))
        folder = writable_folder(Path(artifacts), "--artifacts")
        self._folder = folder
        self._files = FileSystemArtifactStore(str(folder))

    def link(self, number: int | None = None) -> str:
        """The address of the study, or of a trial."""
        study = f"{ADDRESS}/studies/{self._study_id}"
        return study if number is None else f"{study}/trials?numbers={number}"

    def note(self, markdown: str, number: int | None = None) -> None:
        """Set the note of the study, or of a trial."""
        self._storage.retry(lambda: self._note(markdown, number))

    def _note(self, markdown: str, number: int | None) -> None:
        prefix = "dashboard" if number is None else f"dashboard:{self._trial_id(number)}"
        self._storage.set_study_system_attr(self._study_id, f"{prefix}:note_str:0", markdown[:NOTE_LENGTH])
        self._storage.set_study_system_attr(self._study_id, f"{prefix}:note_ver", 1)

    def trial_file(self, name: str, content: bytes, number: int) -> None:
        """Keep a file with a trial that has not ended, once."""
        self._storage.retry(lambda: self._trial_file(name, content, number))

    def _trial_file(self, name: str, content: bytes, number: int) -> None:
        trial = self._storage.get_trial(self._trial_id(number))
        if name not in {kept.filename for kept in get_all_artifact_meta(trial, storage=self._storage)}:
            self._upload(name, content, trial)

    def study_file(self, name: str, content: bytes) -> None:
        """Keep a file with the study, instead of the one of this name."""
        self._storage.retry(lambda: self._study_file(name, content))

    def _study_file(self, name: str, content: bytes) -> None:
        if (kept := study_files(self._storage, self._study_id).get(name)) is not None:
            with self._room():
                self._files.write(kept, io.BytesIO(content))
        else:
            self._upload(name, content, optuna.load_study(study_name=self._study, storage=self._storage))

    def _upload(self, name: str, content: bytes, owner: optuna.Study | FrozenTrial) -> None:
        with self._room(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            upload_artifact(
                artifact_store=self._files, file_path=str(path), study_or_trial=owner, storage=self._storage
            )

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_no_space(error):
                raise no_space(full_place([self._folder, Path(tempfile.gettempdir())])) from error
            raise

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

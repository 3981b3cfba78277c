"""What is written for optuna-dashboard is what optuna-dashboard reads."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna_dashboard import get_note, save_note

from pipeline.base.errors import InputError
from pipeline.tuning.dashboard import NOTE_LENGTH, StudyPages
from pipeline.tuning.storage import Storage, open_storage

TEXT = "**0.0123**, the best of 30 trials\n\n- [run](http://127.0.0.1:5000/#/runs/1)\n- schön"


@pytest.fixture
def storage(path: Path) -> Storage:
    return open_storage(f"sqlite:///{path}")


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    """Not the first of its database, with three trials that are running."""
    optuna.create_study(storage=storage, study_name="other").ask()
    study = optuna.create_study(storage=storage, study_name="study")
    for _ in range(3):
        study.ask()
    return study


@pytest.fixture
def pages(storage: Storage, study: optuna.Study, tmp_path: Path) -> StudyPages:
    return StudyPages(storage, study.study_name, str(tmp_path / "artifacts"))


def trial_of(study: optuna.Study, number: int) -> optuna.Trial:
    return optuna.Trial(study, study.trials[number]._trial_id)


def files(owner: optuna.Study | optuna.Trial, folder: Path) -> list[tuple[str, str, bytes]]:
    return [
        (kept.filename, kept.mimetype, (folder / "artifacts" / kept.artifact_id).read_bytes())
        for kept in get_all_artifact_meta(owner)
    ]


def test_notes_are_read_by_the_dashboard(study: optuna.Study, pages: StudyPages) -> None:
    pages.note(TEXT)
    pages.note("of trial 1", 1)
    pages.note("of trial 2", 2)
    assert get_note(study) == TEXT
    assert [get_note(trial_of(study, number)) for number in range(3)] == ["", "of trial 1", "of trial 2"]


def test_a_note_replaces_the_one_before(study: optuna.Study, pages: StudyPages) -> None:
    for text in (TEXT, "x" * NOTE_LENGTH, "short", ""):
        pages.note(text)
        pages.note(text, 1)
        assert get_note(study) == get_note(trial_of(study, 1)) == text


def test_a_note_that_is_too_long_is_cut(study: optuna.Study, pages: StudyPages) -> None:
    pages.note("x" * 10_000)
    assert get_note(study) == "x" * NOTE_LENGTH


def test_a_person_may_write_on_a_note(study: optuna.Study, pages: StudyPages) -> None:
    pages.note(TEXT)
    save_note(study, TEXT + "\n\nmine")
    assert get_note(study) == TEXT + "\n\nmine"


def test_a_file_is_kept_with_its_trial_once(study: optuna.Study, pages: StudyPages, tmp_path: Path) -> None:
    pages.trial_file("curve.png", b"of 1", 1)
    pages.trial_file("curve.png", b"of 2", 2)
    again = StudyPages(open_storage(f"sqlite:///{tmp_path}/optuna.db"), "study", str(tmp_path / "artifacts"))
    again.trial_file("curve.png", b"told again", 1)
    again.trial_file("weights.png", b"another", 1)
    assert sorted(files(trial_of(study, 1), tmp_path)) == [
        ("curve.png", "image/png", b"of 1"),
        ("weights.png", "image/png", b"another"),
    ]
    assert files(trial_of(study, 2), tmp_path) == [("curve.png", "image/png", b"of 2")]
    assert files(trial_of(study, 0), tmp_path) == files(study, tmp_path) == []
    assert len(list((tmp_path / "artifacts").iterdir())) == 3


def test_a_file_of_the_study_is_replaced(study: optuna.Study, pages: StudyPages, tmp_path: Path) -> None:
    pages.study_file("history.png", b"a long history")
    pages.study_file("front.png", b"front")
    pages.study_file("history.png", b"new")
    assert sorted(files(study, tmp_path)) == [
        ("front.png", "image/png", b"front"),
        ("history.png", "image/png", b"new"),
    ]
    assert len(list((tmp_path / "artifacts").iterdir())) == 2


def test_links_name_the_study_and_the_trial(study: optuna.Study, pages: StudyPages) -> None:
    assert pages.link().endswith("/dashboard/studies/2")
    assert pages.link(1).endswith("/dashboard/studies/2/trials?numbers=1")


def test_a_folder_that_cannot_be_written_is_refused(storage: Storage, study: optuna.Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--artifacts"):
        StudyPages(storage, study.study_name, str(tmp_path / "file"))

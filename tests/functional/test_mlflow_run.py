"""Real `mlflow run`s on a tiny budget, read back from the stores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run

from pipeline.training.machine import this_machine
from tests.functional.conftest import ROOT, Workplace


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, small: dict[str, str]) -> Workplace:
    """A store after `main` of one model and the evaluation of another."""
    workplace = Workplace(tmp_path_factory.mktemp("lab"))
    budget = {"n_trials": "3", "folds": "2", "rounds": "3", "storage": workplace.storage, **small}
    code, output = workplace.mlflow_run("main", model="mlp_ws_al", **budget)
    assert code == 0, output
    code, output = workplace.mlflow_run("evaluate", model="mlp", preset="report", rounds="3", **small)
    assert code == 0, output
    return workplace


def by_role(lab: Workplace, role: str) -> list[Run]:
    return lab.runs(f"tags.role = '{role}'")


def datasets_of(run: Run) -> set[str]:
    return set() if run.inputs is None else {entry.dataset.name for entry in run.inputs.dataset_inputs}


def artifacts(lab: Workplace, run: Run) -> set[str]:
    return {file.path for file in mlflow.MlflowClient(lab.tracking_uri).list_artifacts(run.info.run_id)}


def test_every_run_is_finished_or_pruned_and_nothing_else(lab: Workplace) -> None:
    assert {run.info.status for run in lab.runs() if run.data.tags["role"] != "trial"} == {"FINISHED"}
    states = {run.data.tags["state"]: run.info.status for run in by_role(lab, "trial")}
    assert states.items() <= {"complete": "FINISHED", "pruned": "KILLED"}.items()


def test_mlflow_knows_its_runs_by_the_address_of_the_project(lab: Workplace) -> None:
    for run in (*by_role(lab, "main"), *by_role(lab, "evaluate")[-1:]):
        assert run.data.tags["mlflow.source.name"] == ROOT.as_uri()


def test_a_store_that_is_another_one_in_the_folder_of_the_project_is_refused(tmp_path: Path) -> None:
    code, output = Workplace(tmp_path, tracking="sqlite:///not-there.db").mlflow_run("prepare")
    assert code != 0
    assert f"they start in the project's folder, {ROOT}, and sqlite:///not-there.db is not there" in output
    assert "Traceback" not in output
    assert not (ROOT / "not-there.db").exists()


def test_main_holds_the_stages_and_search_holds_the_trials(lab: Workplace) -> None:
    [main] = by_role(lab, "main")
    children = lab.runs(f"tags.mlflow.parentRunId = '{main.info.run_id}'")
    assert [run.data.tags["role"] for run in children] == [
        "prepare",
        "cross_validate",
        "search",
        "evaluate",
        "compare",
    ]
    trials = lab.runs(f"tags.mlflow.parentRunId = '{children[2].info.run_id}'")
    assert sorted(run.data.params["trial"] for run in trials) == ["0", "1", "2"]


def test_every_run_says_what_it_is_and_where_it_comes_from(lab: Workplace) -> None:
    for run in lab.runs():
        tags = run.data.tags
        assert {
            "role",
            "variantlab_version",
            "git_commit",
            "git_dirty",
            "process",
            "mlflow.note.content",
            "mlflow.user",
        } <= tags.keys()
        assert tags.items() >= this_machine().items()
        assert datasets_of(run), f"{run.info.run_name} has no dataset"
        assert tags["dataset"] == "mnist5k"
        assert len(tags["dataset_digest"]) == 64
        if tags["role"] in ("prepare", "cross_validate", "search", "trial", "evaluate"):
            assert run.data.params["dataset"] == "mnist5k"
        if tags["role"] in ("cross_validate", "search", "trial", "evaluate", "main"):
            assert run.data.params["model"] == tags["model"]
            assert run.data.params["arch"] == "mlp"
        if tags["role"] in ("cross_validate", "search", "evaluate"):
            assert {"trained_on", "precision", "compile"} <= run.data.params.keys()


def test_only_runs_that_measure_on_test_digits_have_them_as_input(lab: Workplace) -> None:
    for run in lab.runs():
        trains_alone = run.data.tags["role"] in ("cross_validate", "search", "trial")
        assert datasets_of(run) == {"mnist5k-train", *(() if trains_alone else ("mnist5k-test",))}


def test_the_study_and_the_runs_tell_the_same(lab: Workplace) -> None:
    runs = {int(run.data.params["trial"]): run for run in by_role(lab, "trial")}
    for trial in lab.study().trials:
        run = runs[trial.number]
        for name, value in trial.params.items():
            assert float(run.data.params[name]) == pytest.approx(value)
        if trial.value is not None:
            assert run.data.metrics["cv_validation_error"] == pytest.approx(trial.value)


def test_figures_and_tables_are_kept(lab: Workplace) -> None:
    expected = {
        "prepare": {"sample_pairs.png", "classes.csv", "classes.md"},
        "cross_validate": {"curves.png", "cross_validation.csv", "cross_validation.md", "chunks.json"},
        "search": {"history.png", "trials.csv", "trials.md", "chunks.json"},
        "evaluate": {
            *("curves.png", "error_by_epoch.png", "confusion_by_digit_pair.png"),
            *("rounds.csv", "epochs.csv", "chunks.json"),
        },
        "compare": {
            *("test_error.png", "test_error.svg", "loss_by_family.png", "loss_by_family.svg", "report.html"),
            *("comparison.csv", "comparison.md", "comparison.tex"),
        },
    }
    for role, names in expected.items():
        for run in by_role(lab, role):
            assert names <= artifacts(lab, run)


def test_evaluate_used_the_best_configuration_of_the_search(lab: Workplace) -> None:
    [search] = by_role(lab, "search")
    evaluated = next(run for run in by_role(lab, "evaluate") if run.data.params["model"] == "mlp_ws_al")
    assert evaluated.data.tags["config_from"] == search.info.run_id
    assert evaluated.data.tags["config"] == search.data.tags["config"]


def test_the_logged_model_answers_from_grey_values(lab: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    client = mlflow.MlflowClient(lab.tracking_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", lab.tracking_uri)
    mlflow.set_tracking_uri(lab.tracking_uri)
    [model, *_] = client.search_logged_models(["0"])
    loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    example = loaded.input_example
    assert example is not None
    assert example.shape[1:] == (2, 14, 14)
    probabilities = loaded.predict(example)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_every_metric_is_documented_with_the_stages_that_have_it(lab: Workplace) -> None:
    text = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
    table = text.partition("| metric |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    documented = {name: set(roles.split(", ")) for names, _, _, roles, _ in cells for name in names.split("`")[1::2]}
    for run in lab.runs():
        for metric in run.data.metrics:
            roles = [roles for pattern, roles in documented.items() if fnmatch(metric, pattern)]
            assert any(run.data.tags["role"] in each for each in roles), f"{metric} of {run.data.tags['role']}"


def test_every_tag_is_documented(lab: Workplace) -> None:
    text = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
    rows = text.partition("| tag | meaning |")[2].strip().partition("\n\n")[0].splitlines()[1:]
    documented = {name for row in rows for name in row.split("|")[1].split("`")[1::2]}
    logged = {tag for run in lab.runs() for tag in run.data.tags if not tag.startswith("mlflow.")}
    assert logged - documented == set()
    of_own_models = {"variant", "trained", "trained_because"}
    assert documented - logged <= {"continues", "error", "evaluate_run", "source"} | of_own_models


def test_runs_lists_at_the_terminal_what_the_store_holds(lab: Workplace) -> None:
    code, output = lab.variantlab("runs", "--stage=evaluate", "--sort=final_test_error", "--format=json")
    assert code == 0, output
    evaluated = sorted(by_role(lab, "evaluate"), key=lambda run: run.data.metrics["final_test_error"])
    assert [each["run"] for each in json.loads(output)] == [run.info.run_id for run in evaluated]


def test_another_compare_ranks_both_variants_once_it_is_told_that_their_searches_differ(lab: Workplace) -> None:
    code, output = lab.variantlab("compare")
    assert code == 2
    assert "search budgets differ (none: mlp; 3 trials of tpe: mlp_ws_al)" in output
    code, output = lab.mlflow_run("compare", allow_unequal="true")
    assert code == 0, output
    newest = by_role(lab, "compare")[-1]
    assert {name for name in newest.data.metrics if name.startswith("rank/")} == {"rank/mlp", "rank/mlp_ws_al"}
    errors = {run.data.params["model"]: run.data.metrics["final_test_error"] for run in by_role(lab, "summary")}
    assert min(errors, key=errors.__getitem__) == min(errors, key=lambda model: newest.data.metrics[f"rank/{model}"])
    # It ranks no summary: the one that has a rank has it from the comparison which ran when its variant was alone.
    assert {run.data.params["model"]: run.data.metrics.get("rank") for run in by_role(lab, "summary")} == {
        "mlp_ws_al": 1,
        "mlp": None,
    }


def test_a_hostile_parameter_is_a_value_and_no_command(lab: Workplace) -> None:
    """One line says what is wrong with it, and the run that `mlflow run` had made says the same."""
    before = {run.info.run_id for run in lab.runs()}
    names = ("model", "preset", "dataset")
    hostile = ["mlp; touch pwned", "$(touch pwned)`touch pwned`", """'; touch pwned; '"; touch pwned; \""""]
    code, output = lab.mlflow_run("evaluate", **dict(zip(names, hostile, strict=True)))
    assert code == 1
    assert not [path for place in (lab.folder, ROOT) for path in place.glob("pwned*")]
    [line] = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "unknown " in line
    assert any(repr(value)[1:-1] in line for value in hostile)
    assert "Traceback" not in output
    [made] = [run for run in lab.runs() if run.info.run_id not in before]
    assert (made.info.status, made.data.params) == ("FAILED", {})
    assert made.data.tags["error"] == line.removeprefix("Error: ")
    mlflow.MlflowClient(lab.tracking_uri).delete_run(made.info.run_id)


def test_the_console_script_tracks_just_the_same(lab: Workplace, small: dict[str, str]) -> None:
    options = [f"--{name}={value}" for name, value in small.items()]
    code, output = lab.variantlab("evaluate", "--model=mlp", "--preset=report", "--rounds=3", *options)
    assert code == 0, output
    by_script, by_mlflow = (run for run in reversed(by_role(lab, "evaluate")) if run.data.params["model"] == "mlp")
    timed = {"seconds_per_epoch", "mlflow_seconds"}
    for name in by_mlflow.data.metrics.keys() - timed:
        assert by_script.data.metrics[name] == by_mlflow.data.metrics[name]
    assert by_script.data.params.items() <= by_mlflow.data.params.items()


def test_a_screening_of_a_digit_model_ends_with_the_best_on_all_samples(
    tmp_path: Path, furnished: Callable[[Path], Workplace], small: dict[str, str]
) -> None:
    workplace = furnished(tmp_path)
    (tmp_path / "space.yaml").write_text(
        "nodes: {type: choice, values: [4, 32]}\nepochs: {type: choice, values: [3]}\n"
    )
    what = {"model": "linear_digits", "sampler": "screen", "space": "space.yaml", "screen-samples": "20", "keep": "1"}
    options = {**what, "folds": "2", "storage": workplace.storage, **small}
    code, output = workplace.variantlab("search", *(f"--{name}={value}" for name, value in options.items()))
    assert code == 0, output
    trials = sorted(by_role(workplace, "trial"), key=lambda run: int(run.data.params["trial"]))
    assert [run.data.params["pairs"] for run in trials] == ["20", "20", "60"]
    assert trials[2].data.params["nodes"] in {"4", "32"}
    for run, trial in zip(trials, workplace.study().trials, strict=True):
        assert run.data.metrics["cv_validation_error"] == pytest.approx(trial.value)
        assert 0 <= run.data.metrics["cv_validation_digit_error"] <= 1
    [search] = by_role(workplace, "search")
    assert search.data.tags["best_trial"] == "2"
    assert search.data.tags["config"] == trials[2].data.tags["config"]
    assert "| digit error |" in output


def test_a_model_and_data_of_ones_own_are_where_the_command_was_given(
    tmp_path: Path, furnished: Callable[[Path], Workplace]
) -> None:
    workplace = furnished(tmp_path)
    shutil.copytree(ROOT / "examples" / "leaves", tmp_path / "mine")
    data = {"dataset": "csv", "data_file": "mine/leaves.csv", "target": "species", "group": "tree"}
    code, output = workplace.mlflow_run(
        "evaluate",
        model="mine/models.py:Wide",
        preset="default",
        rounds="2",
        task="classification",
        workers="1",
        **data,
    )
    assert code == 0, output
    [run] = by_role(workplace, "evaluate")
    assert (run.data.tags["model"], run.data.params["task"]) == ("Wide", "classification")
    assert run.data.tags["trained"] == "stacked"
    assert json.loads(run.data.tags["variant"])["reference"] == "mine/models.py:Wide"
    assert "variantlab compare" in output

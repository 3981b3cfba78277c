"""What a person finds in MLflow who has run two variants and wants to know which is better, and why."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MODELS
from tests.functional.conftest import Workplace

pytestmark = pytest.mark.browser


def newest(lab: Workplace, role: str) -> dict[str, str]:
    """Model -> id of its newest run."""
    return {run.data.tags.get("model", ""): run.info.run_id for run in lab.runs(f"tags.role = '{role}'")}


def test_the_address_that_is_printed_opens_the_runs(page: Page, addresses: dict[str, str], lab: Workplace) -> None:
    page.goto(f"{addresses['MLflow']}/#/experiments/0/runs?workflowType=machine_learning")
    expect(page.get_by_role("link", name="model variants").first).to_be_visible()
    for model in MODELS:
        expect(page.get_by_role("link", name=f"main {model}", exact=True)).to_be_visible()
    page.get_by_role("row").filter(has_text="main mlp_ws_al").get_by_role("button").first.click()
    for stage in ("search", "evaluate"):
        expect(page.get_by_role("link", name=f"{stage} mlp_ws_al", exact=True)).to_be_visible()


def test_a_view_says_which_variant_is_best(page: Page, addresses: dict[str, str], lab: Workplace) -> None:
    page.goto(f"{addresses['MLflow']}/#/experiments/0/runs")
    page.get_by_test_id("saved-views-trigger").click()
    page.get_by_text("Which variant is best").click()
    expect(page.get_by_text("2 matching runs")).to_be_visible()
    for column in ("rank", "final_test_error", "final_test_error_low"):
        expect(page.get_by_role("columnheader", name=column, exact=True).first).to_be_visible()
    summaries = sorted(lab.runs("tags.role = 'summary'"), key=lambda run: run.data.metrics["final_test_error"])
    links = page.get_by_role("link", name=re.compile("^mlp(_ws_al)?$")).all_inner_texts()
    assert links == [run.info.run_name for run in summaries]


def test_evaluations_are_found_selected_and_compared(page: Page, addresses: dict[str, str]) -> None:
    page.goto(f"{addresses['MLflow']}/#/experiments/0/runs")
    page.get_by_test_id("saved-views-trigger").click()
    page.get_by_text("All evaluations").click()
    for model in MODELS:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=f"evaluate {model}", exact=True))
        row.get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Comparing 2 Runs from 1 Experiment")).to_be_visible()
    for config in ("lr", "batch_size", "optimiser"):
        expect(page.get_by_text(config, exact=True).first).to_be_visible()


def compare_trials(page: Page, addresses: dict[str, str], lab: Workplace, *models: str) -> None:
    """What *Compare* opens when all trials of these variants are ticked."""
    trials = [run.info.run_id for run in lab.runs("tags.role = 'trial'") if run.data.tags["model"] in models]
    listed = ",".join(f'"{trial}"' for trial in trials)
    page.goto(f"{addresses['MLflow']}/#/compare-runs?" + urlencode({"runs": f"[{listed}]", "experiments": '["0"]'}))
    expect(page.get_by_role("heading", name=f"Comparing {len(trials)} Runs from 1 Experiment")).to_be_visible()


def test_trials_are_compared_by_parallel_coordinates(page: Page, addresses: dict[str, str], lab: Workplace) -> None:
    compare_trials(page, addresses, lab, "mlp_ws_al")
    axes = page.locator(".js-plotly-plot .parcoords .axis-title")
    for axis in ("alpha", "batch_size", "validation_error"):  # of which a pruned trial has the last one
        expect(axes.filter(has_text=axis)).to_be_visible()


def test_box_plots_show_the_trials_of_both_variants(page: Page, addresses: dict[str, str], lab: Workplace) -> None:
    compare_trials(page, addresses, lab, *MODELS)
    page.get_by_role("tab", name="Box Plot").click()
    for axis, name in (("X-axis", "model"), ("Y-axis", "cv_validation_error")):
        page.get_by_label(axis).click()
        page.get_by_role("option", name=name, exact=True).click()
    expect(page.locator(".js-plotly-plot .boxlayer path.box")).to_have_count(2)


def test_an_evaluation_leads_to_its_search_and_trial_and_the_search_back(
    page: Page, addresses: dict[str, str], lab: Workplace
) -> None:
    page.goto(f"{addresses['MLflow']}/#/experiments/0/runs/{newest(lab, 'evaluate')['mlp_ws_al']}")
    page.get_by_text("Show more").click()
    for name in (re.compile(r"^trial \d+"), "optuna-dashboard"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="search mlp_ws_al").click()
    search = opened.value
    expect(search.get_by_role("heading", name="search mlp_ws_al")).to_be_visible()
    search.get_by_text("Show more").click()
    with search.expect_popup() as opened:
        search.get_by_role("link", name=re.compile("^mlp_ws_al: test error")).click()
    expect(opened.value.get_by_role("heading", name="evaluate mlp_ws_al")).to_be_visible()


def test_a_picture_and_the_page_of_a_comparison_open(page: Page, addresses: dict[str, str], lab: Workplace) -> None:
    [compared] = set(newest(lab, "compare").values())
    page.goto(f"{addresses['MLflow']}/#/experiments/0/runs/{compared}/artifacts")
    page.get_by_text("test_error.png").first.click()
    expect(page.get_by_role("img", name="test_error.png")).to_be_visible()
    page.get_by_text("report.html").first.click()
    expect(page.frame_locator("iframe").get_by_role("heading", name="In short")).to_be_visible()


def test_the_logged_model_has_its_error_and_the_digits_that_gave_it(page: Page, addresses: dict[str, str]) -> None:
    page.goto(f"{addresses['MLflow']}/#/experiments/0/models")
    page.get_by_role("link", name="mlp_ws_al", exact=True).first.click()
    expect(page.get_by_text("model_test_error")).to_be_visible()
    expect(page.get_by_text("less-or-equal").first).to_be_visible()
    expect(page.get_by_text("mnist5k-test").first).to_be_visible()


def test_the_champion_is_marked(page: Page, addresses: dict[str, str]) -> None:
    page.goto(f"{addresses['MLflow']}/#/models/less-or-equal")
    expect(page.get_by_text("@ champion").first).to_be_visible()

"""What a person finds in optuna-dashboard who has searched, and how it leads to MLflow."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_the_history_of_a_study(page: Page, addresses: dict[str, str]) -> None:
    page.goto(f"{addresses['optuna-dashboard']}/dashboard/")
    page.get_by_text(re.compile(r"\bmlp_ws_al ")).first.click()
    for heading in ("History", "Hyperparameter Importance", "Intermediate values"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.locator(".main-svg").first).to_be_visible()


def test_a_trial_has_its_errors_by_epoch_and_leads_to_its_run(page: Page, addresses: dict[str, str]) -> None:
    page.goto(f"{addresses['optuna-dashboard']}/dashboard/studies/1/trials?numbers=0")
    expect(page.get_by_text(re.compile("Intermediate"), exact=False).first).to_be_visible()
    link = page.get_by_role("link", name=re.compile("^run [0-9a-f]+")).first
    expect(link).to_have_attribute("href", re.compile("/runs/"))

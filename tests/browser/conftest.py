"""A browser, and the user interfaces over stores that real commands have made."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.functional.conftest import SMALL, Workplace
from tests.functional.viewers import ui

SCREENSHOTS = "VARIANTLAB_SCREENSHOTS"
"""Variable with the folder of screenshots for people; with it the two variants are run as people run them."""
TINY = {**SMALL, "n-trials": "4", "folds": "2", "rounds": "4"}
MODELS = ("mlp", "mlp_ws_al")
BEEN_HERE = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
"""What MLflow's pages remember of a person who trains models, and has closed the assistant once."""
PATIENCE = 60_000
"""Milliseconds that a page may take to show something, on a machine that is busy."""


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A small `main` of two variants; the second one compares them."""
    workplace = Workplace(tmp_path_factory.mktemp("lab"))
    options = [] if SCREENSHOTS in os.environ else [f"--{name}={value}" for name, value in TINY.items()]
    for model in MODELS:
        code, said = workplace.variantlab("main", f"--model={model}", "--register=less-or-equal", *options)
        assert code == 0, said
    return workplace


@pytest.fixture(scope="session")
def addresses(lab: Workplace) -> Iterator[dict[str, str]]:
    """Name of a user interface -> its root."""
    with ui(lab) as (process, found):
        yield found
        process.send_signal(signal.SIGINT)
        process.communicate()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("browser tests need Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page, of which a screenshot is kept as it is when the test ends."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(PATIENCE)
    for key, value in BEEN_HERE.items():
        page.add_init_script(f"localStorage.setItem('{key}', '{value}')")
    yield page
    folder = Path(os.environ.get(SCREENSHOTS, "build/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "_", request.node.name.removeprefix("test_"))
    page.screenshot(path=folder / f"{name}.png")
    page.close()

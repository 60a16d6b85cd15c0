"""A headless Chromium of the system, which `.ci/run` installs and insists on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from page_complaints import complaints

from hpo.report.png import chromium_path

REQUIRED = bool(os.environ.get("HPO_REQUIRE_BROWSER"))  # read here: the tests themselves see no HPO_ variable


@pytest.fixture(scope="session")
def chromium() -> str:
    path = chromium_path()
    if path is None and REQUIRED:
        pytest.fail("HPO_REQUIRE_BROWSER is set and no Chromium was found")
    if path is None:
        pytest.skip("no Chromium or Chrome on PATH (apt-get install chromium)")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=120_000)
        yield started
        started.close()


@pytest.fixture
def said(page: Any) -> list[str]:
    return complaints(page)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(240_000)
    yield page
    page.close()

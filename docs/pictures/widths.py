"""A report at every width, in the dark and on paper: `python docs/pictures/widths.py REPORT/index.html`.

Writes report-WIDTH.webp, report-dark.webp and report-print.webp beside this file, to be looked at after a change of the
page. Needs Chromium and playwright. `take.py` makes such a report, of a real run.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from hpo.report.png import chromium_path

HERE = Path(__file__).parent
WIDTHS = {1440: 2400, 1024: 1900, 768: 2100, 390: 2600}
"""Pixels of height that are kept, by width: the answer, what mattered and how it learns."""

A4 = (794, 1123)
"""Pixels of a page at 96 dpi."""

PAGES = 2
QUALITY = 40


def main() -> None:
    address = Path(sys.argv[1]).resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        for width, height in WIDTHS.items():
            taken(browser, address, f"report-{width}", width, height)
        taken(browser, address, "report-dark", 1440, WIDTHS[1440], color_scheme="dark")
        taken(browser, address, "report-print", A4[0] - 98, PAGES * A4[1], media="print")  # less its margins of 13 mm
        browser.close()


def taken(browser: Any, address: str, name: str, width: int, height: int, *, media: str = "screen", **how: str) -> None:
    """The upper part of the page, at a width and in a medium, as a small picture."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **how)
    page.emulate_media(media=media)
    page.goto(address)
    page.wait_for_selector("body[data-drawn]", timeout=120_000)
    page.wait_for_timeout(500)  # plots settle into their places
    shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
    page.close()
    path = HERE / f"{name}.webp"
    with Image.open(BytesIO(shot)) as image:
        small = image.convert("RGB")
        small.thumbnail((800, 4000))
        small.save(path, quality=QUALITY, method=6)
    print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

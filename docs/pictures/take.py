"""The pictures of README.md and the site, from a real run: `python docs/pictures/take.py` (`make pictures`).

Needs tmux, Chromium and playwright. It searches mlp_digits for two minutes in a folder of its own and takes three
pictures beside this file: the terminal with half a minute left, the report's first screen, the dashboard's page. Then
widths.py takes those of the report at every width.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from hpo.report.png import chromium_path

HERE = Path(__file__).parent
HPO = Path(sys.executable).with_name("hpo")
COLUMNS, ROWS = 96, 24
SEARCHED = "120s"
SECONDS_BEFORE = 85
"""Of the search, before the terminal's picture: enough for what matters to be known."""
COLOURS = 96
"""Of a picture's palette: more make it larger and no better."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser() as page_of:
        terminal = searched(Path(folder))
        taken = [picture(page_of(900, 600), terminal, "terminal.png", selector="svg")]
        subprocess.run([HPO, "report", "--study", "mlp_digits", "--out", "report"], cwd=folder, check=True)
        report = (Path(folder) / "report" / "index.html").as_uri()
        taken.append(picture(page_of(1280, 900), report, "report.png"))
        subprocess.run([sys.executable, HERE / "widths.py", Path(folder) / "report" / "index.html"], check=True)
        with dashboard(Path(folder)) as address:
            taken.append(picture(page_of(1280, 900), address, "dashboard.png", loaded="mlp_digits (id="))
    for path in taken:
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def searched(folder: Path) -> str:
    """Searches in a terminal of tmux, and returns the address of a page with the picture that stood there."""
    name = f"pictures-{os.getpid()}"
    command = f"{HPO} run --study mlp_digits --timeout {SEARCHED}; tmux wait-for -S {name}"
    size = ["-x", str(COLUMNS), "-y", str(ROWS)]
    subprocess.run(["tmux", "new-session", "-d", "-s", name, *size, "-c", str(folder), command], check=True)
    time.sleep(SECONDS_BEFORE)
    shown = subprocess.run(
        ["tmux", "capture-pane", "-e", "-p", "-t", name], capture_output=True, text=True, check=True
    ).stdout
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.rstrip()))
    svg = console.export_svg(title="hpo run --study mlp_digits --timeout 2m", theme=DIMMED_MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    page = folder / "terminal.html"
    page.write_text(f"<style>body{{margin:0}} svg{{display:block;width:900px}}</style>{svg}", encoding="utf-8")
    subprocess.run(["tmux", "wait-for", name], check=True)
    return page.as_uri()


@contextmanager
def browser() -> Iterator[Any]:
    """A function that opens a page of a width and a height."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        yield lambda width, height: started.new_page(viewport={"width": width, "height": height})
        started.close()


@contextmanager
def dashboard(folder: Path) -> Iterator[str]:
    """hpo dashboard for the study just searched; the address of its page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = subprocess.Popen([HPO, "dashboard", "--port", str(port)], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/dashboard/studies/1"
    finally:
        served.terminate()
        served.wait()


def picture(page: Any, address: str, name: str, selector: str | None = None, loaded: str | None = None) -> Path:
    """What the page shows, with a palette of a few colours."""
    page.goto(address)
    if loaded is not None:
        page.get_by_text(loaded).first.wait_for(timeout=120_000)
    page.wait_for_timeout(3000)  # plots are drawn after the page has loaded
    path = HERE / name
    (page.locator(selector).first if selector else page).screenshot(path=path)
    with Image.open(path) as taken:
        taken.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
    return path


if __name__ == "__main__":
    main()

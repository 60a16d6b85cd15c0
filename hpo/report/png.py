"""The plots as static images: kaleido draws them in a Chromium that is already on the machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hpo.errors import DeviceError, UsageError
from hpo.report.plot import Plot
from hpo.report.theme import TEMPLATE

__all__ = ["chromium_path", "require_png", "write_images"]

HEADING = 34
"""Pixels above a figure for its title, which on the page is outside the figure."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")


def chromium_path() -> str | None:
    """The Chromium or Chrome on this machine: BROWSER_PATH, else the first one on PATH."""
    named = os.environ.get("BROWSER_PATH")
    if named:
        return named if Path(named).is_file() else None
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def require_png() -> None:
    """Raise UsageError if kaleido is missing, DeviceError if no Chromium is found, before any work is done."""
    if importlib.util.find_spec("kaleido") is None:
        raise UsageError("--png needs kaleido, which is not installed", next="pip install kaleido, or leave --png out")
    if chromium_path() is None:
        raise DeviceError(
            "--png needs Chromium or Chrome, and none was found",
            evidence=[f"looked for {', '.join(_NAMES)} on PATH, and at BROWSER_PATH"],
            next="install one (apt-get install chromium), or leave --png out: index.html needs none",
        )


def write_images(
    plots: Sequence[Plot], folder: Path, on_step: Callable[[str, int, int], None] = lambda _what, _done, _of: None
) -> list[Path]:
    """Write every figure as `folder`/KEY.png, or KEY-1.png, KEY-2.png if a plot has several; remove older images.

    One browser draws all: starting it takes longer than drawing.
    """
    import kaleido
    import plotly.graph_objects as go

    require_png()
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.png"):
        stale.unlink()
    figures = []
    for plot in plots:
        several = len(plot.drawing.figures) > 1
        for index, figure in enumerate(plot.drawing.figures):
            path = folder / (f"{plot.key}-{index + 1}.png" if several else f"{plot.key}.png")
            height = (figure.layout.height or TEMPLATE.layout.height) + HEADING
            top = (figure.layout.margin.t or TEMPLATE.layout.margin.t) + HEADING
            heading = {"text": plot.title, "font": {"size": 17}, "x": 0.02, "y": 1 - 20 / height}
            dressed = go.Figure(figure).update_layout(template=TEMPLATE, margin={"t": top}, title=heading)
            dressed.update_layout(showlegend=True if several else None)
            size = {"width": 620 if several else 1000, "height": height, "scale": 2}
            figures.append({"fig": dressed, "path": path, "opts": size})
    on_step(f"{len(figures)} images", 0, 1)
    kaleido.write_fig_from_object_sync(
        figures,
        kopts={"path": chromium_path(), "mathjax": False},  # else kaleido fetches MathJax from the network
        cancel_on_error=True,
    )
    on_step("done", 1, 1)
    return [Path(one["path"]) for one in figures]

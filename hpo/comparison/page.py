"""A comparison as one page that opens offline, and comparison.json beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from hpo.comparison.comparison import StudyComparison
from hpo.comparison.figures import comparison_plots
from hpo.report.folder import check_folder, write_file
from hpo.report.html import figures_json, page_template, page_texts
from hpo.report.legend_icons import legend_icons

__all__ = ["write_comparison"]


def write_comparison(comparison: StudyComparison, folder: Path) -> tuple[Path, Path]:
    """Write index.html and comparison.json into `folder`, over older ones, and give their paths.

    Raises UsageError for a folder that cannot be written.
    """
    check_folder(folder)
    text = json.dumps(comparison.document(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    page, facts = folder / "index.html", folder / "comparison.json"
    write_file(page, _page(comparison))
    write_file(facts, text)
    return page, facts


def _page(comparison: StudyComparison) -> str:
    plots = comparison_plots(comparison)
    return str(
        page_template("comparison.html.j2").render(
            comparison=comparison,
            made_at=datetime.now(UTC),
            mood=_mood(comparison),
            measured=comparison.verdict.basis == "evaluation",
            plots=plots,
            captions={plot.key: plot.about for plot in plots},
            legend_icons=legend_icons(),
            figures=figures_json(plots),
            **page_texts(),
        )
    )


def _mood(comparison: StudyComparison) -> str:
    """Green only where a test of fresh runs found one study to be better."""
    verdict = comparison.verdict
    if verdict.basis != "evaluation":
        return "open"
    return "good" if verdict.best is not None else "even"

"""index.html: one file that opens offline, on a phone and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hpo.data.mask_colours import colour_of
from hpo.report import words
from hpo.report.captions import caption
from hpo.report.data import ReportData
from hpo.report.legend_icons import legend_icons
from hpo.report.plot import Plot
from hpo.report.residuals import residual_plot
from hpo.report.strips import matter_rows
from hpo.report.theme import TEMPLATE
from hpo.wording import bytes_text, value_text

__all__ = ["figures_json", "page_template", "page_texts", "render_page", "ticked"]

PARTS = ("answer", "learning", "cost", "explore", "appendix")
"""The headings under which plots stand; `PlotRow.part` names one."""

_PAGE = Path(__file__).parent / "page"


def render_page(data: ReportData, plots: Sequence[Plot]) -> str:
    """The whole page. Everything that came from a study is escaped: by jinja in the markup, by `_json` in scripts."""
    page: str = page_template("page.html.j2").render(
        data=data,
        view=data.view,
        parts={part: [plot for plot in plots if plot.part == part] for part in PARTS},
        captions={plot.key: caption(plot, data) for plot in plots if not plot.missing},
        matters=matter_rows(data),
        most_share=max((one.share for one in data.insight.mattered.parameters), default=0.0) or 1.0,
        mood=_mood(data),
        copied=_as_python(data.insight.settings.best),
        evaluation=data.evaluation,
        honest=data.winner,
        space=_space(data),
        settings=_settings(data),
        protocol=_protocol(data),
        budget=_budget(data),
        importances=_importance_table(data),
        legend_icons=legend_icons(),
        failures=data.failures[:50],
        figures=figures_json(plots),
        **page_texts(),
    )
    return page


def page_template(name: str) -> Any:
    """A template of page/, which escapes what it is given and refuses what it is not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": words.number,
        "thousands": "{:,}".format,
        "difference": words.difference,
        "seconds": words.seconds,
        "value": value_text,
        "percent": words.percent,
        "bytes": bytes_text,
        "moment": _moment,
        "ticked": ticked,
        "residuals": residual_plot,
        "mask_colour": colour_of,
    }
    return environment.get_template(name)


def page_texts() -> dict[str, str]:
    """The style and the scripts that every page carries, so that it opens offline."""
    from plotly.offline import get_plotlyjs

    return {
        "css": (_PAGE / "page.css").read_text(),
        "script": (_PAGE / "explorer.js").read_text() + (_PAGE / "page.js").read_text(),
        "plotly": get_plotlyjs(),
    }


def figures_json(plots: Sequence[Plot]) -> str:
    """What page.js draws, safe inside <script>."""
    return _json(_figures(plots))


def _figures(plots: Sequence[Plot]) -> dict[str, Any]:
    """Every figure by the id of its place on the page, and the template that they share, once."""
    figures = {}
    for plot in plots:
        for index, figure in enumerate(plot.drawing.figures):
            content = json.loads(figure.to_json())
            content["layout"].pop("template", None)
            figures[f"{plot.key}-{index}"] = content
    return {"template": TEMPLATE.to_plotly_json(), "figures": figures}


def _json(value: Any) -> str:
    """JSON that is safe inside <script>: it contains no tag, no comment and no line separator."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _space(data: ReportData) -> list[tuple[str, str, str]]:
    """Rows of the space: name, what is searched, and the baseline's value; from the declaration if there is one."""
    baseline = dict(data.baseline.params) if data.baseline is not None else {}
    declared = data.view.declaration or {}
    # A fixed value is declared as Python writes it: 'adam' fixed.
    rows = [
        (name, re.sub(r"^'(.*)' fixed$", r"\1 fixed", str(text)))
        for name, text in declared.items()
        if not name.startswith("(")
    ]
    if not rows:  # plain Optuna's, or an objective, which suggests as it goes
        return [(one.name, one.text, value_text(baseline.get(one.name, ""))) for one in data.parameters]
    layers: dict[str, list[str]] = {}
    for one in data.parameters:
        if one.name in baseline:
            layers.setdefault(one.group or one.name, []).append(value_text(baseline[one.name]))
    return [(name, text, ", ".join(layers.get(name, []))) for name, text in rows]


def _settings(data: ReportData) -> dict[str, list[str]]:
    """Columns of the best trials: a parameter that each layer has is one column of several values."""
    columns: dict[str, list[str]] = {}
    for one in data.parameters:
        columns.setdefault(one.group or one.name, []).append(one.name)
    taken = {name for trial in data.best for name in trial.params}
    return {title: names for title, names in columns.items() if taken.intersection(names)}


def _protocol(data: ReportData) -> list[tuple[str, str]]:
    stored = data.view.declaration or {}
    return [(name.strip("()"), str(text)) for name, text in stored.items() if name.startswith("(")]


def _budget(data: ReportData) -> list[tuple[str, str]]:
    view = data.view
    target = f" of {view.trials_target:,}" if view.trials_target is not None else ""
    rows = [("trials finished", f"{data.finished:,}{target}")]
    if view.deadline is not None and view.seconds_left is not None:
        left = f"{words.seconds(view.seconds_left)} left" if view.seconds_left > 0 else "time is up"
        left = "stopped in a dashboard" if view.stopped else left
        rows.append(("time limit", f"{_moment(view.deadline)}, {left}"))
    starts, ends = data.trials["started"].dropna(), data.trials["finished"].dropna()
    if len(starts) and len(ends):
        rows.append(("from first to last trial", words.seconds((ends.max() - starts.min()).total_seconds())))
    rows.append(("training time of all trials together", words.seconds(data.train_seconds)))
    hosts = data.trials["host"].nunique() if "host" in data.trials else 0
    if hosts:
        rows.append(("hosts", f"{hosts:,}"))
    return rows


def _importance_table(data: ReportData) -> list[dict[str, Any]]:
    """A row for each objective and parameter, with both methods side by side."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in data.importances.rows:
        row = rows.setdefault(
            (one.objective, one.parameter),
            {"objective": one.objective, "parameter": one.parameter, "members": one.members, "methods": {}},
        )
        row["methods"][one.method] = one
    inside = {(one.objective, name) for one in data.importances.rows for name in one.members}
    listed = [(one, name) for one in data.objectives for name in data.importances.listing(one)]
    return [rows[key] | {"inside": key in inside} for key in listed]


def _mood(data: ReportData) -> str:
    """How the verdict is set: green only where the evaluation found a gain."""
    verdict = data.insight.verdict
    if verdict.basis == "evaluation" and verdict.better is not None:
        return "good" if verdict.better else "even" if verdict.tie else "bad"
    return "open"


def _as_python(settings: Mapping[str, Any]) -> str:
    """As `baseline=` of a study takes it."""
    return repr(dict(settings)) if settings else ""


def ticked(text: str) -> Markup:
    """Text with its commands in a fixed font: `hpo evaluate`."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else Markup("{}").format(part)
        for index, part in enumerate(parts)
    )


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")

"""The note of a study, as optuna-dashboard renders Markdown: the verdict, the settings, what mattered, the report."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpo.duration import format_duration
from hpo.insight import Insight
from hpo.printable import one_line
from hpo.results.reading import StudyView
from hpo.wording import value_text

__all__ = ["note_text"]

MOST = 6
"""Parameters that are named as having mattered."""


def note_text(view: StudyView, insight: Insight, *, about: str, link: str, stop: str = "") -> str:
    """Markdown in which nothing that somebody wrote into the study is markup.

    about: the study's description; link: where its report is; stop: where it is stopped, if it can be
    """
    return "\n".join(_lines(view, insight, about, link, stop))


def _lines(view: StudyView, insight: Insight, about: str, link: str, stop: str) -> Iterator[str]:
    yield f"**{_plain(insight.verdict.sentence)}**"
    yield ""
    if about.strip():
        yield _plain(" ".join(about.split()))
        yield ""
    settled = insight.settings
    compared = settled.baseline_trial is not None and settled.baseline_trial != settled.trial
    if settled.rows:
        named = f"trial {settled.trial}" if settled.trial is not None else "best"
        if settled.trial is not None and settled.trial == settled.baseline_trial:
            named += " (baseline)"
        yield f"| parameter | {named} |{' baseline |' if compared else ''}"
        yield f"|---|---|{'---|' if compared else ''}"
        for row in settled.rows:
            best = _plain(value_text(row.best)) if row.best is not None else "-"
            shown = f"**{best}**" if row.changed else best
            theirs = f" {_plain(value_text(row.baseline)) if row.baseline is not None else '-'} |" if compared else ""
            yield f"| {_plain(row.name)} | {shown} |{theirs}"
        yield ""
    clear = [one for one in insight.mattered.parameters if one.sure != "unclear"][:MOST]
    if insight.mattered.nothing:
        yield f"What mattered: {_plain(insight.mattered.nothing)}."
        yield ""
    if clear:
        parts = (
            f"{_plain(one.name)} {100 * one.share:.0f} % ({_plain(one.text)}{', likely' * (one.sure == 'likely')})"
            for one in clear
        )
        yield f"What mattered: {', '.join(parts)}."
        yield ""
    if insight.cost.text:
        saved = f"; pruning saved about {format_duration(insight.pruning.seconds)}" if insight.pruning else ""
        yield f"Cost: {insight.cost.text}{saved}."
        yield ""
    for step in insight.steps[:2]:
        yield f"- {_plain(step.text)}"
    yield ""
    yield f"[The report of {_plain(view.name)}]({link})" + (f" · [stop or resume it]({stop})" if stop else "")


def _plain(text: str) -> str:
    """Text on one line with every sign of Markdown escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+.!|<>~&-])", r"\\\1", one_line(text))

"""A sentence below each plot that says what is in it: for who skims, and for who cannot see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hpo.report.data import ReportData
from hpo.report.plot import Plot
from hpo.report.words import number, percent, seconds

__all__ = ["caption"]


def caption(plot: Plot, data: ReportData) -> str:
    """The sentence of a plot that was drawn; what it shows at least."""
    made = _SENTENCES.get(plot.key)
    return (made(data) if made is not None else "") or plot.about


def _history(data: ReportData) -> str:
    gain = data.insight.pace.last_gain
    if gain is None or not data.best or len(data.objectives) > 1:
        return ""
    since = data.insight.pace.trials_since
    ago = f", {since:,} trials before the last" if since else ""
    against = (
        f"; the dashed line is the baseline's {number(data.baseline.values[0])}" if data.baseline is not None else ""
    )
    return (
        f"The best of {data.finished:,} finished trials is {number(data.best[0].values[0])} (trial {gain.trial}{ago})"
        f"{against}."
    )


def _learning(data: ReportData) -> str:
    best, baseline = data.best[0], data.baseline
    steps = len(best.intermediate_values)
    told = f"Trial {best.number} reported {steps} {data.step_name}{'s' if steps != 1 else ''}"
    if baseline is None or baseline.number == best.number:
        return f"{told}."
    return f"{told}, the baseline {len(baseline.intermediate_values)}. Dotted: on the training images."


def _curves(data: ReportData) -> str:
    counts = data.view.counts
    return f"{counts['complete']:,} complete trials and {counts['pruned']:,} that were pruned."


def _pace(data: ReportData) -> str:
    together = data.insight.cost.text
    what = (
        f"its seconds per {data.step_name}, without loading torch and the data" if data.own_records else "its seconds"
    )
    return f"Each point is a trial: {what}. All together took {together or seconds(data.train_seconds)}."


def _parallel(data: ReportData) -> str:
    return f"{len(data.complete):,} complete trials; choose the top 10 %, or drag along an axis."


def _importances(data: ReportData) -> str:
    rows = [row for row in data.importances.rows if row.method == "PED-ANOVA" and not row.members and not row.warning]
    if not rows:
        return ""
    return f"By PED-ANOVA {rows[0].parameter} explains most ({percent(rows[0].share)})."


def _edf(data: ReportData) -> str:
    if len(data.objectives) > 1 or not data.complete:
        return ""
    values = sorted(trial.values[0] for trial in data.complete)
    return f"Half of the complete trials reached at most {number(values[(len(values) - 1) // 2])}."


_SENTENCES: Mapping[str, Callable[[ReportData], str]] = {
    "history": _history,
    "learning": _learning,
    "intermediate": _curves,
    "time": _pace,
    "parallel": _parallel,
    "importances": _importances,
    "edf": _edf,
}

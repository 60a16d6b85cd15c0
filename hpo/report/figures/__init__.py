"""The plots of a report, in reading order."""

from __future__ import annotations

from hpo.report.data import ReportData
from hpo.report.figures.contour import contour
from hpo.report.figures.history import distribution, history, intermediate
from hpo.report.figures.importances import importances
from hpo.report.figures.landscape import parallel, rank
from hpo.report.figures.pareto_front import pareto_front
from hpo.report.figures.relations import correlation, failures, size
from hpo.report.figures.slice_plot import slice_plot, times
from hpo.report.figures.timeline import timeline
from hpo.report.plot import PlotRow

__all__ = ["PLOTS", "plots_for"]

PLOTS = (
    PlotRow("importances", "Importances", "How much of the differences each parameter explains.", importances),
    PlotRow("history", "Optimization history", "Every trial in the order it ran.", history),
    PlotRow("pareto", "Pareto front", "Trials that no other beats in every objective.", pareto_front),
    PlotRow(
        "intermediate", "Intermediate values", "How trials learned; those that were pruned are faint.", intermediate
    ),
    PlotRow("slice", "Slice", "The objective against each parameter.", slice_plot, first=True),
    PlotRow(
        "parallel",
        "Parallel coordinates",
        "Each line is a complete trial; the dark ones did best.",
        parallel,
        first=True,
    ),
    PlotRow(
        "contour",
        "Contour",
        "The objective over the two most important parameters that take enough values.",
        contour,
        first=True,
    ),
    PlotRow("rank", "Rank", "Complete trials by their rank, over the most important parameters.", rank, first=True),
    PlotRow(
        "edf", "Distribution of results", "The share of complete trials that reached at most a value.", distribution
    ),
    PlotRow("timeline", "Timeline by worker", "What each worker did when.", timeline),
    PlotRow("correlation", "Correlation", "Spearman rank correlation over complete trials.", correlation),
    PlotRow("time", "Time against each parameter", "What makes a trial slow.", times),
    PlotRow("size", "Objective against parameter count", "Whether larger models did better.", size, first=True),
    PlotRow("failures", "Failures by reason", "Trials that failed, diverged or ran out of memory.", failures),
)


def plots_for(data: ReportData) -> tuple[PlotRow, ...]:
    """The rows of PLOTS that make sense for this study: a Pareto front needs several objectives."""
    return tuple(row for row in PLOTS if row.key != "pareto" or len(data.objectives) > 1)

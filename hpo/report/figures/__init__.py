"""The plots of a report, in reading order."""

from __future__ import annotations

from hpo.report.data import ReportData
from hpo.report.figures.contour import contour
from hpo.report.figures.ends import can_foresee, ends
from hpo.report.figures.history import distribution, history, intermediate
from hpo.report.figures.importances import importances
from hpo.report.figures.landscape import parallel, rank
from hpo.report.figures.learning import can_learn, learning
from hpo.report.figures.pareto_front import pareto_front
from hpo.report.figures.relations import correlation, failures, size
from hpo.report.figures.slice_plot import slice_plot, times
from hpo.report.figures.timeline import timeline
from hpo.report.plot import PlotRow

__all__ = ["PLOTS", "plots_for"]

PLOTS = (
    PlotRow("history", "Best over time", "Every trial in the order it ran.", history, part="answer"),
    PlotRow("learning", "How the best learned", "Epoch by epoch, beside the baseline.", learning, part="learning"),
    PlotRow(
        "intermediate",
        "All learning curves",
        "How trials learned; those that were pruned are thin.",
        intermediate,
        part="learning",
    ),
    PlotRow(
        "ends",
        "Predicted and true ends",
        "What FreezeThaw() expected each time it chose a trial, and what came.",
        ends,
        part="learning",
    ),
    PlotRow("time", "What makes it slow", "Seconds of an epoch against each parameter.", times, part="cost"),
    PlotRow("size", "Objective against parameter count", "Whether larger models did better.", size, True, "cost"),
    PlotRow("pareto", "Pareto front", "Trials that no other beats in every objective.", pareto_front, part="explore"),
    PlotRow("slice", "Slice", "The objective against each parameter.", slice_plot, True, "explore"),
    PlotRow(
        "parallel",
        "Parallel coordinates",
        "Each line is a complete trial; the dark ones did best.",
        parallel,
        True,
        "explore",
    ),
    PlotRow("importances", "Importances by Optuna", "How much of the differences a parameter explains.", importances),
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
    PlotRow(
        "correlation",
        "Correlation with parameters",
        "Spearman's rank correlation of results, time and size with each parameter, over complete trials.",
        correlation,
    ),
    PlotRow("failures", "Failures by reason", "Trials that failed, diverged or ran out of memory.", failures),
)


def plots_for(data: ReportData) -> tuple[PlotRow, ...]:
    """The rows of PLOTS that make sense for this study.

    A Pareto front needs several objectives, curves of the best one trial that is the best and reported epochs, and
    predicted ends a search that predicts.
    """
    left_out = {"learning"} if not can_learn(data) else set()
    left_out |= {"ends"} if not can_foresee(data) else set()
    left_out |= {"pareto"} if len(data.objectives) == 1 else set()
    return tuple(row for row in PLOTS if row.key not in left_out)

"""What a search that pauses trials believed of their ends, beside what came."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from hpo.report import ReportData
from hpo.report.figures import PLOTS, plots_for
from hpo.report.plot import Plot, draw

ReportOf = Callable[..., ReportData]


def thawed(study: optuna.Study, *trials: tuple[dict[int, float], list[dict[str, Any]]]) -> None:
    for reports, decisions in trials:
        last = reports[max(reports)]
        state = TrialState.COMPLETE if max(reports) == 4 else TrialState.PRUNED
        study.add_trial(
            create_trial(state=state, value=last, intermediate_values=reports, user_attrs={"decisions": decisions})
        )


def row(after: int, expected: float, spread: float = 0.01, **more: Any) -> dict[str, Any]:
    return {"after": after, "until": after + 1, "epoch": 4, "expected": expected, "spread": spread, **more}


def curve(end: float, length: int = 4) -> dict[int, float]:
    return {epoch: end * epoch / 4 for epoch in range(1, length + 1)}


def drawn(data: ReportData) -> Plot:
    return draw(next(row for row in PLOTS if row.key == "ends"), data)


def test_each_decision_about_a_trial_that_reached_its_end_is_a_mark(report_of: ReportOf) -> None:
    first = [{"after": 0, "until": 4, "why": "it waited its turn"}]
    data = report_of(
        lambda study: thawed(
            study,
            (curve(0.5), first),
            (curve(0.8), [row(0, 0.6, 0.3), row(1, 0.795)]),
            (curve(0.9), [row(2, 0.7)]),
            (curve(0.9, 2), [row(0, 0.6)]),
        )
    )
    assert "ends" in [each.key for each in plots_for(data)]
    plot = drawn(data)
    line, new, went_on = plot.drawing.figures[0].data
    assert (list(new.x), list(new.y), list(new.error_x.array)) == ([0.6], [0.8], [0.3])
    assert (list(went_on.x), list(went_on.y), list(went_on.customdata)) == ([0.795, 0.7], [0.8, 0.9], [1, 2])
    assert list(line.x) == list(line.y)
    assert plot.drawing.notes == [
        "67 % of 3 true ends lie within the spread that was believed (of a normal one 68 % do).",
        "There is one more of trials without an end, or not yet.",
    ]


def test_a_study_without_beliefs_has_no_such_picture_and_one_without_ends_says_so(report_of: ReportOf) -> None:
    data = report_of(lambda study: thawed(study, (curve(0.5), [{"after": 0, "until": 4, "why": "first"}])))
    assert "ends" not in [each.key for each in plots_for(data)]
    paused = report_of(lambda study: thawed(study, (curve(0.5, 2), [row(0, 0.6)])))
    assert drawn(paused).missing == "No trial about which something was expected has reached its last epoch."


def test_what_others_wrote_as_a_decision_draws_nothing_and_breaks_nothing(report_of: ReportOf) -> None:
    odd = [row(0, math.inf), row(0, 0.6, math.nan), row(0, "0.6"), {**row(0, 0.6), "epoch": 10**30}, row(0, 0.6, -0.1)]  # type: ignore[arg-type]
    plot = drawn(report_of(lambda study: thawed(study, (curve(0.6), odd))))
    assert [len(trace.x) for trace in plot.drawing.figures[0].data] == [2, 1]

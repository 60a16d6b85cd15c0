"""What plots show, and what they must not pretend."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from report_studies import searched, told

from hpo.report import ReportData, build_report
from hpo.report.figures import PLOTS
from hpo.report.figures.contour import REACH, surface
from hpo.report.html import render_page
from hpo.report.plot import Plot, draw
from hpo.report.theme import COLOURS, SYMBOLS

ReportOf = Callable[..., ReportData]


def plot(data: ReportData, key: str) -> Plot:
    return draw(next(row for row in PLOTS if row.key == key), data)


def said(drawn: Plot) -> str:
    return " ".join(drawn.drawing.notes) + drawn.missing


def add(study: optuna.Study, value: float | None, state: str = "COMPLETE", **params: Any) -> None:
    """A trial with parameters that are floats 0..1, whole numbers 1..99 or one of the choices met in these tests."""

    def distribution(setting: Any) -> BaseDistribution:
        if isinstance(setting, float):
            return FloatDistribution(0.0, 1.0)
        if isinstance(setting, int) and not isinstance(setting, bool):
            return IntDistribution(1, 99)
        return CategoricalDistribution(["a", "b", None, True])

    made = {name: distribution(setting) for name, setting in params.items()}
    study.add_trial(create_trial(state=TrialState[state], value=value, params=params, distributions=made))


def with_failures(study: optuna.Study, learned: int, lost: int) -> None:
    """Results within a hundredth of each other, and a few trials that learned nothing."""
    random = np.random.default_rng(0)
    for index in range(learned):
        x = float(random.random())
        add(study, 0.97 + 0.01 * x, x=x, y=float(random.random()), layers=1 + index % 4)
    for _ in range(lost):
        add(study, 0.1, x=0.01, y=0.01, layers=1)


def test_a_surface_is_left_out_where_no_trial_is_near() -> None:
    """Cells farther than REACH from every trial are empty, and none is better than the best trial near by."""
    random = np.random.default_rng(1)
    xs, ys, values = random.random((3, 15))
    grid = np.linspace(0, 1, 40)
    painted = surface(xs, ys, values, grid)
    for row, y in enumerate(grid):
        for column, x in enumerate(grid):
            distance = np.hypot(xs - x, ys - y)
            assert np.isnan(painted[row, column]) == (distance.min() > REACH)
            near = values[distance <= 2 * REACH]
            if not np.isnan(painted[row, column]):
                assert near.min() - 1e-9 <= painted[row, column] <= near.max() + 1e-9


def test_the_contour_needs_values_between_which_something_lies(report_of: ReportOf) -> None:
    """Whole numbers of four values are passed over like categories, and the page says which and why."""

    def fill(study: optuna.Study) -> None:
        random = np.random.default_rng(2)
        for index in range(40):
            x, y = (float(value) for value in random.random(2))
            layers = 1 + index % 4
            add(study, 0.9 * layers + 0.05 * x + 0.01 * y, x=x, y=y, layers=layers)

    drawn = plot(report_of(fill), "contour")
    (figure,) = drawn.drawing.figures
    assert {figure.layout.xaxis.title.text, figure.layout.yaxis.title.text} == {"x", "y"}
    assert "layers (4 values)" in said(drawn)


def test_a_bad_trial_does_not_pale_good_ones_near_by(report_of: ReportOf) -> None:
    """Beside one trial that learned nothing, what good trials came to still shows in the surface."""

    def fill(study: optuna.Study) -> None:
        random = np.random.default_rng(4)
        for _ in range(40):
            x, y = (float(value) for value in random.random(2))
            add(study, 0.97 + 0.01 * x, x=x, y=y)
        add(study, 0.1, x=0.9, y=0.5)

    surface_trace = plot(report_of(fill), "contour").drawing.figures[0].data[0]
    cells = [cell for row in surface_trace.z for cell in row if cell is not None]
    assert min(cells) >= surface_trace.zmin > 0.97


def test_no_contour_without_two_fit_parameters(report_of: ReportOf) -> None:
    """With one scale and one of few values there is no surface, and the reason names both numbers."""

    def fill(study: optuna.Study) -> None:
        for index in range(30):
            add(study, index / 30, x=index / 30, layers=1 + index % 3, kind="ab"[index % 2])

    drawn = plot(report_of(fill), "contour")
    assert not drawn.drawing.figures
    assert "layers (3 values)" in drawn.missing
    assert "kind (categories)" in drawn.missing


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_axes_show_the_body_of_results_and_count_the_rest(report_of: ReportOf, direction: str) -> None:
    """Trials that learned nothing press the others flat in neither plot; how many are outside is said."""
    sign = 1 if direction == "maximize" else -1

    def fill(study: optuna.Study) -> None:
        random = np.random.default_rng(0)
        for index in range(34):
            x = float(random.random())
            add(study, sign * (0.97 + 0.01 * x if index < 30 else 0.1), x=x, y=float(random.random()))

    data = report_of(fill, directions=(direction,))
    axis = plot(data, "parallel").drawing.figures[0].data[0].dimensions[-1]
    assert axis["range"][1] - axis["range"][0] < 0.02
    assert min(axis["values"]) >= axis["range"][0]
    assert max(axis["values"]) <= axis["range"][1]
    shown = plot(data, "edf").drawing.figures[0].layout.xaxis.range
    assert shown[1] - shown[0] < 0.03
    for key in ("parallel", "edf"):
        assert "4 of 34 complete trials are worse than the range shown" in said(plot(data, key))


def test_nothing_is_cut_where_results_are_spread(report_of: ReportOf) -> None:
    """Evenly spread results are all inside, and no note says otherwise."""

    def fill(study: optuna.Study) -> None:
        for index in range(30):
            add(study, index / 30, x=index / 30)

    data = report_of(fill)
    assert "outside" not in said(plot(data, "edf")) + said(plot(data, "parallel"))
    assert plot(data, "edf").drawing.figures[0].layout.xaxis.range is None


def test_the_distribution_steps_where_trials_are(report_of: ReportOf) -> None:
    """At each value the curve stands at the share of complete trials at most as large, and nothing lies between."""

    def fill(study: optuna.Study) -> None:
        for value in (0.5, 0.7, 0.5, 0.9):
            add(study, value, x=value)

    curve = plot(report_of(fill), "edf").drawing.figures[0].data[0]
    assert curve.line.shape == "hv"
    assert list(zip(curve.x, curve.y, strict=True)) == [(0.5, 0.0), (0.5, 0.5), (0.7, 0.75), (0.9, 1.0)]


def test_none_is_a_value_and_not_a_gap(report_of: ReportOf) -> None:
    """A choice None has its place in the slice and in trials.csv; a trial without the parameter has none."""

    def fill(study: optuna.Study) -> None:
        for index, choice in enumerate(["a", None, True] * 5):
            add(study, index / 20, kind=choice)
        add(study, 0.5, x=0.5)

    data = report_of(fill)
    assert data.trials["params_kind"].tolist()[:3] == ["a", "None", True]
    assert data.trials["params_kind"].isna().sum() == 1
    figure = next(one for one in plot(data, "slice").drawing.figures if one.layout.xaxis.title.text == "kind")
    assert list(figure.layout.xaxis.ticktext) == ["None", "True", "a"]
    assert {text for trace in figure.data for text in trace.text} == {"None", "True", "a"}


def test_trials_that_share_a_choice_or_a_whole_number_stand_side_by_side(report_of: ReportOf) -> None:
    """They made overplotted columns. Each stays nearer to its value than to any other, and says that value."""

    def fill(study: optuna.Study) -> None:
        for index in range(90):
            add(study, index / 90, layers=1 + index % 3, kind=["a", None][index % 2], x=index / 90)

    drawn = plot(report_of(fill), "slice")
    figures = {figure.layout.xaxis.title.text: figure for figure in drawn.drawing.figures}
    for name, values in (("layers", [1, 2, 3]), ("kind", [0, 1])):
        (complete,) = [trace for trace in figures[name].data if trace.name == "complete"]
        assert len(set(complete.x)) == 90
        assert max(abs(x - round(x)) for x in complete.x) < 0.36
        assert sorted({round(x) for x in complete.x}) == values
    shown = dict(zip(figures["layers"].data[0].customdata, figures["layers"].data[0].text, strict=True))
    assert shown == {number: str(1 + number % 3) for number in range(90)}
    assert figures["x"].data[0].text is None
    assert "stand side by side" in said(drawn)


def test_correlations_are_of_results_with_parameters_and_no_choice_mirrors_another(report_of: ReportOf) -> None:
    """The objective was one row of ten by ten, and a choice of two stood there twice."""

    def fill(study: optuna.Study) -> None:
        for index in range(30):
            add(study, index / 30, x=index / 30, y=1.0 - index / 30, kind=["a", None][index % 2])

    (heatmap,) = plot(report_of(fill), "correlation").drawing.figures[0].data
    assert list(heatmap.y) == ["value"]  # no trial says how long it trained
    cells = dict(zip(heatmap.x, heatmap.z[0], strict=True))
    assert sorted(cells) == ["kind = None", "x", "y"]
    assert (cells["x"], cells["y"]) == (1.0, -1.0)


def test_panels_without_a_trial_in_range_are_not_drawn(report_of: ReportOf) -> None:
    """A parameter, and a choice, whose every trial lies outside the range are named with their number of trials."""

    def fill(study: optuna.Study) -> None:
        with_failures(study, learned=60, lost=2)
        for index in range(3):
            add(study, 0.1, x=0.5, y=0.5, layers=2, kind="b", deep=0.1 * index)
        for index in range(10):
            add(study, 0.975, x=0.1 * index, y=0.5, layers=2, kind="a")

    drawn = plot(report_of(fill), "slice")
    assert "deep" not in {figure.layout.xaxis.title.text for figure in drawn.drawing.figures}
    assert "deep (3 trials, not drawn)" in said(drawn)
    assert "kind = b (3 trials)" in said(drawn)
    assert "5 of 75 trials lie outside the range shown" in said(drawn)


def test_no_curves_where_nothing_finite_was_reported(report_of: ReportOf) -> None:
    """An all-failed study has no empty frame from 0 to 1, but the reason."""

    def fill(study: optuna.Study) -> None:
        for _ in range(3):
            trial = told("FAIL", x=0.5)
            trial.intermediate_values = {1: float("nan"), 2: float("inf")}
            study.add_trial(trial)

    assert plot(report_of(fill), "intermediate").missing.startswith("No trial reported a finite value")


def test_importances_say_what_they_answer_and_on_what_they_rest(report_of: ReportOf) -> None:
    """One sentence on each method, and how many trials they rest on and leave out."""
    data = report_of(lambda study: searched(study, 90))
    words = said(plot(data, "importances"))
    assert "PED-ANOVA: what sets the best tenth (here 6 trials) apart" in words
    assert "fANOVA: what explains the variance over all" in words
    pruned = data.view.counts["pruned"]
    assert f"rest on the {len(data.complete)} complete trials; the {pruned} pruned ones are not in them" in words


def test_members_stand_striped_below_their_group(report_of: ReportOf) -> None:
    """What a group is the sum of follows right below it, marked as a part of it, in the plot and in the table."""
    data = report_of(lambda study: searched(study, 90))
    listing = data.importances.listing("value")
    place = listing.index("width")
    assert listing[place + 1 : place + 4] == ["width_0", "width_1", "width_2"]
    assert sorted(listing) == sorted(data.importances.ranking("value", groups=True))
    bars = next(trace for trace in plot(data, "importances").drawing.figures[0].data if "PED" in trace.name)
    for name, shape in zip(bars.y, bars.marker.pattern.shape, strict=True):
        assert (shape == "/") == ("of which" in name), name
    assert sum("of which" in name for name in bars.y) == 3
    assert render_page(data, ()).count('class="inside"') == 0
    assert render_page(data, [plot(data, "importances")]).count('class="inside"') == 3


def test_the_key_shows_the_marks_of_the_plots(report_of: ReportOf) -> None:
    """Rings, stars and diamonds in the key as in the panels, in the same colours."""
    data = report_of(lambda study: searched(study, 40))
    drawn = plot(data, "slice")
    page = render_page(data, [drawn])
    key = re.search(r'<ul class="counts key">(.*?)</ul>', page, re.S)
    assert key
    for outcome in drawn.drawing.key:
        mark = re.search(rf"<svg([^>]*)><(\w+)[^>]*/></svg>{outcome}<", key[1])
        assert mark, outcome
        assert COLOURS[outcome] in mark[1]
        assert ('fill="none"' in mark[1]) == SYMBOLS[outcome].endswith("-open")
        assert (mark[2] == "path") == (SYMBOLS[outcome] in ("star", "diamond", "x", "triangle-up"))


def test_fixed_values_read_without_quotes_and_times_by_their_name(report_of: ReportOf) -> None:
    """What Python writes as 'adam' reads adam; seconds of the trainer are called training, and told from others."""
    data = report_of(searched)
    declared = replace(data.view, declaration={"optimizer": "'adam' fixed", "lr": "1e-05 .. 0.1 log"})
    page = render_page(replace(data, view=declared), ())
    assert "<td>adam fixed</td>" in page
    assert '<th scope="col">training</th>' in page
    assert "<code>hpo trials</code> shows those from its start to its end" in page


def test_an_objective_of_ones_own_has_the_space_that_its_trials_took_and_no_evaluate(report_of: ReportOf) -> None:
    data = report_of(searched)
    own = replace(data.view, declaration={"(function)": "train.py:objective", "(objective)": "maximize value"})
    page = render_page(build_report(own), ())
    assert "No trial has taken a parameter yet" not in page
    assert page.split("<h3>Space</h3>")[1].count('<th scope="row">lr</th>') == 1
    assert "again with other seeds" in page
    assert "hpo evaluate" not in page


def test_a_correlation_of_nothing_is_written_one_way(report_of: ReportOf) -> None:
    """Rounding leaves no -0.00 beside 0.00."""

    def fill(study: optuna.Study) -> None:
        for index in range(401):
            add(study, index / 400, x=((index - 200.2) / 400) ** 2, y=((index - 199.8) / 400) ** 2)

    text = plot(report_of(fill), "correlation").drawing.figures[0].data[0].text
    words = [cell for row in text for cell in row]
    assert "0.00" in words
    assert "\u22120.00" not in words


def test_bars_too_narrow_to_see_keep_their_colour(report_of: ReportOf) -> None:
    """A trial of a moment in a long search is as wide as a pixel, without the white edge that would hide it."""
    data = report_of(lambda study: searched(study, 20))
    started = data.trials["started"].min()
    data.trials.loc[:, "started"] = [started + np.timedelta64(10 * index, "s") for index in range(20)]
    data.trials.loc[:, "finished"] = data.trials["started"] + np.timedelta64(10, "ms")
    data.trials.loc[0, "finished"] = started + np.timedelta64(9, "s")
    data.trials.loc[:, "seconds"] = float("nan")
    bars = plot(data, "timeline").drawing.figures[0].data
    assert min(x for trace in bars for x in trace.x) >= 271  # milliseconds of 190 seconds
    assert sorted({edge for trace in bars for edge in trace.marker.line.width}) == [0.0, 0.6]

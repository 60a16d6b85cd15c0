"""The first screen of a report, and what its plots show, on studies as hpo leaves them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
import pytest
from report_studies import searched, told

from hpo.report import ReportData, build_report, write_report
from hpo.report.figures import PLOTS, plots_for
from hpo.report.html import render_page
from hpo.report.plot import draw
from hpo.report.theme import COLOURS, FAINT, OPACITY
from hpo.results.reading import StudyView

ReportOf = Callable[..., ReportData]


def evaluated(data: ReportData, **verdict: Any) -> ReportData:
    """The same report after an evaluation whose verdict this is."""
    row: Any = {"name": "trial 1", "trial": 1, "baseline": False, "params": {}, "runs": [], "test_accuracy": None,
                "failures": [], "confusion": [], "search_val_accuracy": None, "optimism_gap": None}  # fmt: skip
    document: Any = {"configurations": [row], "winner": None, "verdict": {"best": "trial 1", **verdict}, "seeds": 3,
                     "evaluated_at": "2026-01-01", "dataset": "digits", "test_images": 360, "classes": []}  # fmt: skip
    return build_report(replace(data.view, evaluation=document))


def compared(study: optuna.Study) -> None:
    first = told("COMPLETE", 0.5, steps=2, x=0.5, y=0.1)
    first.set_user_attr("origin", "baseline")
    study.add_trial(first)
    study.add_trial(told("COMPLETE", 0.9, steps=2, x=0.25, y=0.1))


def lead(page: str) -> tuple[str, str]:
    """(how it is set, what it says)"""
    found = re.search(r'<p class="lead (\w+)" id="verdict">(.*?)</p>', page)
    assert found is not None
    return found.group(1), found.group(2)


def test_the_first_sentence_is_the_verdict_and_the_search_alone_is_never_green(report_of: ReportOf) -> None:
    mood, said = lead(render_page(data := report_of(compared), ()))
    assert mood == "open"
    assert said == data.insight.verdict.sentence.replace("'", "&#39;")
    assert "optimistic" in said


@pytest.mark.parametrize(
    ("verdict", "mood"),
    [
        ({"beats_baseline": True, "difference": 0.1, "p": 0.01}, "good"),
        ({"beats_baseline": False, "difference": -0.1, "p": 0.4}, "even"),
        ({"beats_baseline": False, "difference": -0.1, "p": 0.01}, "bad"),
        ({"beats_baseline": None}, "open"),
    ],
)
def test_an_evaluation_is_the_first_sentence(report_of: ReportOf, verdict: dict[str, Any], mood: str) -> None:
    """Whatever the search says: it opened with the search's gain in green where the baseline had won."""
    data = evaluated(report_of(compared), sentence="Trial 1 was measured.", **verdict)
    assert lead(render_page(data, ())) == (mood, "Trial 1 was measured.")


def test_settings_stand_beside_the_baselines_with_what_changed(report_of: ReportOf) -> None:
    page = render_page(report_of(compared), ())
    table = page.split('<table class="settings numbers">')[1].split("</table>")[0]
    assert re.search(r'x</th><td class="changed">0.25 <small>changed</small></td><td>0.5</td>', table)
    assert re.search(r"y</th><td>0.1</td><td>0.1</td>", table)
    assert 'data-text="{&#39;x&#39;: 0.25, &#39;y&#39;: 0.1}"' in page


def test_space_budget_and_protocol_are_folded(report_of: ReportOf) -> None:
    page = render_page(report_of(searched), ())
    first, folded = page.split('<details id="appendix">')
    for title in ("Space", "Budget used"):
        assert f"<h3>{title}</h3>" in folded
        assert title not in first


def test_what_mattered_is_one_row_a_parameter(report_of: ReportOf) -> None:
    data = report_of(lambda study: searched(study, 90))
    page = render_page(data, ())
    rows = page.split('<table class="matters">')[1].split("</table>")[0]
    names = re.findall(r'<th scope="row">(.*?)</th>', rows)
    assert names == [one.name for one in data.insight.mattered.parameters]
    assert names[0] == "lr"
    assert rows.count("<svg") == len(names)


def hpo_study(trials: int = 2) -> StudyView:
    """As hpo leaves one: epochs with loss and accuracy, and what a trainer recorded."""
    made, epochs = [], []
    for number in range(trials):
        trial = told("COMPLETE", 0.9 + 0.01 * number, steps=4, x=number / trials, y=number % 3 / 3)
        trial.number = number
        for key, value in {"seconds": 60.0, "train_seconds": 3.0, "eval_seconds": 1.0, "seed": 1}.items():
            trial.set_user_attr(key, value)
        if number == 0:
            trial.set_user_attr("origin", "baseline")
        made.append(trial)
        for epoch in range(1, 5):
            epochs.append({"trial": number, "epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 0.9,
                           "val_loss": 1.2 / epoch, "val_accuracy": 0.1 if epoch == 1 else 0.9 + 1e-3 * number,
                           "lr": 0.1, "seconds": 1.0, "metrics": {}, "recorded_at": None})  # fmt: skip
    return StudyView(
        "s", ("maximize",), tuple(made), {"x": "0 .. 1"}, objectives=("val_accuracy",), epochs=tuple(epochs)
    )


def drawn(data: ReportData, key: str) -> Any:
    plot = draw(next(row for row in PLOTS if row.key == key), data)
    assert not plot.missing, plot.missing
    return plot


def test_loss_and_accuracy_of_the_best_stand_beside_the_baselines() -> None:
    """On train and validation; they were drawn nowhere."""
    loss, accuracy = drawn(build_report(hpo_study()), "learning").drawing.figures
    lines = ["baseline, train", "baseline, validation", "best, train", "best, validation"]
    assert [trace.name for trace in loss.data] == [trace.name for trace in accuracy.data] == lines
    assert list(loss.data[3].y) == [1.2, 0.6, 0.4, 0.3]


def test_what_makes_it_slow_are_seconds_of_an_epoch_without_setting_up() -> None:
    """A trial of a minute, of which 56 seconds loaded torch: an epoch took one."""
    plot = drawn(build_report(hpo_study(6)), "time")
    values = {value for trace in plot.drawing.figures[0].data for value in trace.y}
    assert values == {1.0}
    assert plot.drawing.figures[0].layout.yaxis.title.text == "seconds per epoch"


def test_an_early_epoch_does_not_press_all_curves_into_a_line(report_of: ReportOf) -> None:
    """Accuracies that begin at 0.1 and end at 0.9 to 1.0 have an axis of where they end."""
    low, high = drawn(build_report(hpo_study(30)), "intermediate").drawing.figures[0].layout.yaxis.range
    assert 0.5 < low < 0.9 < high


def test_one_odd_trial_does_not_press_the_history_into_a_line(report_of: ReportOf) -> None:
    def fill(study: optuna.Study) -> None:
        for value in (0.98, 0.97, 0.11, 0.96):
            study.add_trial(told("COMPLETE", value, steps=1, x=value))

    low, high = drawn(report_of(fill), "history").drawing.figures[0].layout.yaxis.range
    assert 0.9 < low < 0.96
    assert 0.98 < high < 1.0


def test_curves_of_the_best_are_left_out_where_it_reported_nothing(report_of: ReportOf) -> None:
    data = report_of(lambda study: study.add_trial(told("COMPLETE", 0.5, x=0.5)))
    assert "learning" not in [row.key for row in plots_for(data)]


def _rgb(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def _contrast(one: list[float], other: list[float]) -> float:
    def luminance(colour: list[float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _turned_over(colour: list[float]) -> list[float]:
    """What `invert(.92) hue-rotate(180deg)` of page.css makes of it (the matrices of the CSS filter specification)."""
    inverted = [0.92 - 0.84 * part for part in colour]
    rotated = [[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]]
    turned = [sum(factor * part for factor, part in zip(row, inverted, strict=True)) for row in rotated]
    return [min(1.0, max(0.0, part)) for part in turned]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_mark_stands_out_from_the_page(dark: bool) -> None:
    """By at least 3, with the opacity that it has: what WCAG 2.1 asks of graphics."""
    white = [1.0, 1.0, 1.0]
    shown = {name: (COLOURS[name], OPACITY[name]) for name in COLOURS} | {"pruned curve": (COLOURS["pruned"], FAINT)}
    found: Mapping[str, float] = {
        name: _contrast(*(_turned_over(each) if dark else each for each in (
            [opacity * part + (1 - opacity) for part in _rgb(colour)], white)))
        for name, (colour, opacity) in shown.items()
    }  # fmt: skip
    assert {name: round(each, 2) for name, each in found.items() if each < 3} == {}
    assert all(math.isfinite(each) for each in found.values())


def test_a_report_over_an_older_one_is_whole(report_of: ReportOf, tmp_path: Any) -> None:
    written = write_report(report_of(compared), tmp_path)
    assert lead(written.page.read_text())[1] == report_of(compared).insight.verdict.sentence

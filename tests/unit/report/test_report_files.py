"""The files of a report: CSV that pandas reads as it should, JSON that keeps its schema, a page that is whole."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pandas
import pytest
from optuna.trial import create_trial
from report_studies import Fill, searched, told

from hpo.errors import UsageError
from hpo.report import ReportData, WrittenReport, write_report
from hpo.report.plot import BUG

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())
HOSTILE = """</script><img src=x onerror="boom()">'{{7*7}}'&amp;"""


@pytest.fixture
def written(report_of: Callable[..., ReportData], tmp_path: Path) -> Callable[..., WrittenReport]:
    def make(fill: Fill, **more: object) -> WrittenReport:
        return write_report(report_of(fill, **more), tmp_path / "report")

    return make


Written = Callable[..., WrittenReport]


def missing(report: WrittenReport) -> dict[str, str]:
    return {plot.key: plot.missing for plot in report.plots if plot.missing}


def check(report: WrittenReport) -> None:
    """What holds for every report, however little there is to say."""
    for plot in report.plots:
        assert BUG not in plot.missing, plot
        assert bool(plot.drawing.figures) != bool(plot.missing), plot.key
        for figure in plot.drawing.figures:
            assert figure.data, f"{plot.key} is empty"
            assert any(_points(trace) for trace in figure.data), f"{plot.key} has axes and nothing else"
    jsonschema.validate(json.loads((report.folder / "report.json").read_text()), SCHEMA)
    page = report.page.read_text()
    for plot in report.plots:
        assert f'<section id="{plot.key}" ' in page
    for name in ("trials.csv", "best_trials.csv", "importances.csv", "curves.csv"):
        pandas.read_csv(report.folder / name)


def _points(trace: object) -> int:
    if getattr(trace, "dimensions", None):
        return len(trace.dimensions)  # type: ignore[attr-defined]
    values = getattr(trace, "x", None)
    return 0 if values is None else len([value for value in values if value is not None])


def test_an_ordinary_study_draws_every_plot(written: Written) -> None:
    """Nothing is missing from the report of a search that had everything."""
    report = written(lambda study: searched(study, 60))
    check(report)
    assert missing(report) == {}


def test_csv_files_load_with_the_right_types(written: Written) -> None:
    """pandas reads numbers as numbers, times as times, and whole numbers without a decimal point."""
    folder = written(lambda study: searched(study, 40)).folder
    trials = pandas.read_csv(folder / "trials.csv", parse_dates=["started", "finished"], dtype_backend="numpy_nullable")
    for name in ("number", "steps", "parameters", "params_layers", "params_width_2"):
        assert pandas.api.types.is_integer_dtype(trials[name]), name
    for name in ("value", "seconds", "params_lr", "params_momentum"):
        assert pandas.api.types.is_float_dtype(trials[name]), name
    for name in ("state", "params_optimizer", "failure_reason"):
        assert pandas.api.types.is_string_dtype(trials[name]), name
    assert pandas.api.types.is_bool_dtype(trials["eligible"])
    assert str(trials["started"].dtype).endswith("UTC]")
    assert len(trials) == 40
    curves = pandas.read_csv(folder / "curves.csv")
    assert list(curves.columns) == ["trial", "step", "value"]
    assert curves.groupby("trial")["step"].max()[0] == 5
    shares = pandas.read_csv(folder / "importances.csv")
    assert pandas.api.types.is_float_dtype(shares["share"])
    assert set(shares["kind"]) == {"parameter", "group"}


def test_page_and_files_say_the_same(written: Written) -> None:
    """The best value is one number, wherever it is read."""
    report = written(searched)
    document = json.loads((report.folder / "report.json").read_text())
    best = document["best"][0]
    row = pandas.read_csv(report.folder / "best_trials.csv").iloc[0]
    assert (row["number"], row["value"]) == (best["number"], pytest.approx(best["values"][0]))
    assert f"{best['values'][0]:.5f}" in report.page.read_text()


def test_the_page_is_one_file_that_needs_no_network(written: Written) -> None:
    """plotly is inlined once; nothing is loaded from anywhere."""
    report = written(lambda study: searched(study, 12))
    page = report.page.read_text()
    assert page.count("plotly.js v") == 1
    head = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", head)


def test_names_with_markup_are_escaped_everywhere(written: Written) -> None:
    """Names, categories, attributes and reasons cannot break out of the page, nor out of its JSON."""

    def fill(study: optuna.Study) -> None:
        for index in range(12):
            trial = create_trial(
                value=index / 12,
                params={HOSTILE: index / 12, "<b>kind": "<i>&\"'" if index % 2 else "</td>"},
                distributions={
                    HOSTILE: optuna.distributions.FloatDistribution(0.0, 1.0),
                    "<b>kind": optuna.distributions.CategoricalDistribution(["<i>&\"'", "</td>"]),
                },
            )
            trial.set_user_attr("host", HOSTILE)
            study.add_trial(trial)
        failed = told("FAIL")
        failed.set_user_attr("failure", {"kind": HOSTILE, "reason": HOSTILE, "traceback": [HOSTILE]})
        study.add_trial(failed)
        study.set_metric_names([HOSTILE])

    report = written(fill, name=HOSTILE)
    check(report)
    page = report.page.read_text()
    assert "<img" not in page.replace(_plotly(), "")
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]
    assert page.count("</script>") == 3 + _plotly().count("</script>")
    for plot in report.plots:
        for figure in plot.drawing.figures:
            assert "<img" not in figure.to_json().replace("\\u003c", "<"), plot.key
    assert json.loads((report.folder / "report.json").read_text())["study"] == HOSTILE


def test_no_trials_at_all(written: Written) -> None:
    """A study without a trial gives a page that says what is missing."""
    report = written(lambda study: None)
    check(report)
    assert all(plot.missing for plot in report.plots)
    assert "No trial has taken a parameter yet" in report.page.read_text()


def test_one_trial(written: Written) -> None:
    """One complete trial has a history; what needs several says so."""
    report = written(lambda study: study.add_trial(told("COMPLETE", 0.5, steps=3, x=0.5)))
    check(report)
    assert not missing(report).keys() & {"history", "intermediate", "timeline"}
    assert "there is one" in missing(report)["importances"]


@pytest.mark.parametrize(("state", "value"), [("PRUNED", 0.5), ("FAIL", None), ("COMPLETE", math.inf)])
def test_none_complete(written: Written, state: str, value: float | None) -> None:
    """All pruned, failed or infinite: no best, every plot that needs one says why."""

    def fill(study: optuna.Study) -> None:
        for index in range(12):
            study.add_trial(told(state, value, steps=2, x=index / 12))

    report = written(fill)
    check(report)
    assert "there are none" in missing(report)["importances"]
    assert "No trial is complete, finite and within its constraints yet." in report.page.read_text()
    assert pandas.read_csv(report.folder / "best_trials.csv").empty


def test_a_parameter_with_one_value(written: Written) -> None:
    """It is left out of the plots, by name; alone, it leaves nothing to compare."""

    def fill(study: optuna.Study) -> None:
        for index in range(12):
            study.add_trial(told("COMPLETE", index / 12, x=index / 12, held=0.25))

    report = written(fill)
    check(report)
    notes = next(plot.drawing.notes for plot in report.plots if plot.key == "slice")
    assert any("held" in note for note in notes)


def test_only_single_valued_parameters(written: Written) -> None:
    """With nothing that varies, every plot of parameters says so."""

    def fill(study: optuna.Study) -> None:
        for index in range(12):
            study.add_trial(told("COMPLETE", index / 12, held=0.25))

    report = written(fill)
    check(report)
    assert missing(report)["slice"] == "No parameter took more than one value."


def test_not_a_number(written: Written) -> None:
    """NaN and infinities, reported or as results, are drawn around; JSON has none of them bare."""

    def fill(study: optuna.Study) -> None:
        searched(study, 20)
        for value in (math.inf, -math.inf):
            study.add_trial(told("COMPLETE", value, steps=2, lr=0.5))
        odd = told("PRUNED", None, lr=0.5)
        odd.intermediate_values = {1: math.nan, 2: math.inf}
        study.add_trial(odd)

    check(written(fill))


CHOICES: dict[str, list[Any]] = {
    "lists": [[64], [64, 32], [[1], [2, 3]], []],
    "mappings": [{"a": 1}, {"a": 2}, {"b": {"c": [1, None]}}, {}],
    "tuples": [(1, 2), (3, 4), ()],
    "each": [None, True, False, 2, "None", "[1]", [1], {"k": 1}],
    "numbers": [float("nan"), float("inf"), 1.0, 1e300],
    "texts": ["", "<b>", "two\nlines", "x" * 3000, "nan"],
}


@pytest.mark.parametrize("kinds", [*([kind] for kind in CHOICES), [*CHOICES]], ids=" ".join)
def test_any_value_may_be_a_choice(written: Written, kinds: list[str]) -> None:
    """Every plot, importance and file; each choice counts as one of its own, and report.json has it as it was."""

    def fill(study: optuna.Study) -> None:
        study.sampler = optuna.samplers.RandomSampler(seed=0)

        def objective(trial: optuna.Trial) -> float:
            x = trial.suggest_float("x", 0.0, 1.0)
            return x + sum(len(str(trial.suggest_categorical(kind, CHOICES[kind]))) % 7 for kind in kinds)

        study.optimize(objective, n_trials=60)

    report = written(fill)
    check(report)
    assert not missing(report).keys() & {"importances", "slice", "rank", "parallel"}
    document = json.loads((report.folder / "report.json").read_text())
    shown = {one["name"]: one for one in document["parameters"]}
    for kind in kinds:
        assert shown[kind]["values"] == len(CHOICES[kind])
    if "lists" in kinds:
        assert document["best"][0]["params"]["lists"] in CHOICES["lists"]
        frame = pandas.read_csv(report.folder / "trials.csv")
        assert set(frame["params_lists"]) == {"[64]", "[64, 32]", "[[1], [2, 3]]", "[]"}


def test_only_categorical_parameters(written: Written) -> None:
    """Categories alone still have a slice, importances and a rank."""

    def fill(study: optuna.Study) -> None:
        study.sampler = optuna.samplers.RandomSampler(seed=0)

        def objective(trial: optuna.Trial) -> float:
            one = trial.suggest_categorical("one", ["a", "b", "c"])
            two = trial.suggest_categorical("two", [True, False, None, 1.5])
            return len(one) + (one == "a") + (two is True) + trial.number / 100

        study.optimize(objective, n_trials=30)

    report = written(fill)
    check(report)
    assert not missing(report).keys() & {"importances", "slice", "rank", "parallel"}


@pytest.mark.parametrize("directions", [("minimize", "maximize"), ("minimize", "maximize", "minimize")])
def test_several_objectives_with_constraints(written: Written, directions: tuple[str, ...]) -> None:
    """A plain Optuna study with several objectives and a constraint has its front drawn, feasible trials only."""

    def fill(study: optuna.Study) -> None:
        study.sampler = optuna.samplers.RandomSampler(seed=0)

        def objective(trial: optuna.Trial) -> tuple[float, ...]:
            x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 1e-3, 1.0, log=True)
            trial.set_constraint("c", x - 0.8)
            return (x, x * y, y)[: len(directions)]

        study.optimize(objective, n_trials=25)

    report = written(fill, directions=directions)
    check(report)
    assert missing(report).keys() <= {"failures", "intermediate", "size"}
    drawn = next(plot for plot in report.plots if plot.key == "pareto").drawing.figures
    assert len(drawn) == len(directions) * (len(directions) - 1) // 2
    assert {trace.name for trace in drawn[0].data} >= {"infeasible", "front"}


def test_heavy_plots_are_thinned_and_say_so(written: Written) -> None:
    """Thousands of trials: no plot draws them all, each that left some out says how many, and the best stays."""

    def fill(study: optuna.Study) -> None:
        study.add_trials([told("COMPLETE", (7919 * i % 3000) / 3000, steps=2, x=i / 3000) for i in range(3000)])

    report = written(fill)
    check(report)
    for plot in report.plots:
        if plot.key in ("history", "slice", "intermediate", "timeline", "time"):
            assert any("drawn" in note for note in plot.drawing.notes), plot.key
    assert report.page.stat().st_size < 8e6
    history = next(plot for plot in report.plots if plot.key == "history").drawing.figures[0]
    assert "best" in {trace.name for trace in history.data}


def test_a_folder_that_cannot_be_written(report_of: Callable[..., ReportData], tmp_path: Path) -> None:
    """A file where the folder should be is a clear error before any work."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot write the report to"):
        write_report(report_of(searched), tmp_path / "taken" / "report")


def test_an_older_report_is_replaced(report_of: Callable[..., ReportData], tmp_path: Path) -> None:
    """Writing again leaves the new files and no drafts."""
    data = report_of(lambda study: searched(study, 12))
    write_report(data, tmp_path)
    before = (tmp_path / "trials.csv").read_text()
    files = {path.name for path in write_report(data, tmp_path).files}
    assert (tmp_path / "trials.csv").read_text() == before
    assert {path.name for path in tmp_path.iterdir() if path.name != "study.db"} == files


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


LONG = "\u0645\u0639\u062f\u0644" + "\u5b66\u4e60\u7387" + "\U0001f600" + "\u202e" + "e\u0301" + "w" * 189
"""A name of 200 characters of several scripts, one of which turns the direction of the text."""


def test_sixty_parameters_of_names_of_every_script(written: Written) -> None:
    """Whole files, a page of a few megabytes, and each name in it as it was."""
    names = [LONG[:196] + f"{index:04d}" for index in range(60)]

    def fill(study: optuna.Study) -> None:
        for index in range(40):
            values = {name: (index * (place + 3)) % 67 / 67 for place, name in enumerate(names)}
            study.add_trial(told("COMPLETE", index / 40, steps=2, **values))

    report = written(fill, name=LONG)
    check(report)
    assert not missing(report).keys() & {"history", "slice", "parallel", "importances"}
    notes = next(plot.drawing.notes for plot in report.plots if plot.key == "slice")
    assert any("24 most important of 60" in note for note in notes), notes
    assert report.page.stat().st_size < 9e6
    assert set(pandas.read_csv(report.folder / "trials.csv").columns) >= {f"params_{name}" for name in names}
    assert f"<h1>{LONG}</h1>" in report.page.read_text()


def test_a_report_over_one_that_somebody_reads_or_may_not_change(written: Written, tmp_path: Path) -> None:
    """A browser that has the page open keeps what it read, whole; a file that cannot be replaced is named."""
    report = written(lambda study: searched(study, 12))
    with report.page.open() as opened:
        head = opened.read(100)
        again = written(lambda study: searched(study, 13))
        rest = opened.read()
    assert (head + rest).rstrip().endswith("</html>")
    assert again.page.read_text() != head + rest
    again.page.unlink()
    again.page.mkdir()  # root may write to a read-only folder; nobody can replace a folder by a file
    (again.page / "kept").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*index\.html"):
        written(lambda study: searched(study, 12))
    assert (again.page / "kept").exists()

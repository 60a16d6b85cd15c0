"""Metrics under names of the user's own: what may be one, what a row of the database gives back, how they are drawn."""

from __future__ import annotations

import json
import math
import queue
import warnings
from datetime import UTC, datetime
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from hpo.errors import StudyError
from hpo.messages import Message
from hpo.own_messages import Report
from hpo.own_metrics import LONGEST_NAME, MOST_METRICS, checked_metrics, metrics_from, metrics_text
from hpo.own_training.link import Link
from hpo.report import build_report
from hpo.report.figures import PLOTS
from hpo.report.plot import draw
from hpo.results.reading import StudyView
from hpo.study.objective import Objective
from hpo.training.progress import StopRequest


def test_a_metric_is_whatever_is_one_number() -> None:
    given = {"a": 1, "b": np.float32(0.5), "c": torch.tensor([0.25]), "d": True, "e": math.nan}
    kept = checked_metrics(given)
    assert {name: kept[name] for name in "abcd"} == {"a": 1.0, "b": 0.5, "c": 0.25, "d": 1.0}
    assert math.isnan(kept["e"])


def test_a_loss_that_is_still_to_be_differentiated_brings_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked_metrics({"loss": torch.tensor(0.5, requires_grad=True) * 1}) == {"loss": 0.5}


def test_a_name_that_is_far_too_long_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match="is not the name of a metric") as refused:
        checked_metrics({"x" * 100_000: 0.5})
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("value", ["0.5", None, [0.5], torch.zeros(2), 10**400, {"f1": 0.5}])
def test_what_is_no_number_is_refused_with_its_name_and_type(value: Any) -> None:
    with pytest.raises(TypeError, match=f"'val_f1' is of type {type(value).__name__}, and should be one number"):
        checked_metrics({"val_f1": value})


@pytest.mark.parametrize("name", ["", "x" * (LONGEST_NAME + 1), "a\nb", "a\x00", "\ud800", 3, None])
def test_a_name_is_short_and_printable(name: Any) -> None:
    with pytest.raises(ValueError, match="is not the name of a metric"):
        checked_metrics({name: 0.5})
    assert metrics_from({name: 0.5}) == {}


def test_there_are_only_so_many_of_one_step() -> None:
    assert len(checked_metrics({f"m{index}": 0.5 for index in range(MOST_METRICS)})) == MOST_METRICS
    with pytest.raises(ValueError, match=r"65 metrics were reported for one step; hpo keeps at most 64"):
        checked_metrics({f"m{index}": 0.5 for index in range(MOST_METRICS + 1)})


def test_what_is_written_is_json_for_every_reader_and_comes_back() -> None:
    given = {"f1": 0.5, "nan": math.nan, "high": math.inf, "low": -math.inf}
    text = metrics_text(given)
    assert text is not None
    back = metrics_from(json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))
    assert repr(back) == repr(given)
    assert metrics_text({}) is None


@pytest.mark.parametrize("stored", [None, "x", [1], {"a": [1]}, {"a": "x"}, {"a": None}, {"a": True}, {"a": 10**400}])
def test_what_others_put_there_is_as_if_it_were_not(stored: Any) -> None:
    assert metrics_from(stored) == {}
    assert len(metrics_from({f"m{index}": 1 for index in range(1000)})) == MOST_METRICS


@pytest.mark.parametrize("metric", ["a,b", "x" * 101, "a\nb", ""])
def test_an_objective_is_not_called_what_no_metric_may_be_called(metric: str) -> None:
    with pytest.raises(StudyError, match="is not the name of a metric"):
        Objective("train:objective", metric=metric, direction="minimize")


def test_a_step_takes_more_metrics_later_and_keeps_those_it_has() -> None:
    sent: list[Message] = []
    link = Link(7, sent.append, StopRequest(), queue.SimpleQueue())
    link.report(3, {"loss": 0.5})
    link.report(3, {"f1": 0.25})
    with pytest.warns(UserWarning, match="what is reported of f1 is ignored because this `step=3` is already reported"):
        link.report(3, {"f1": 1.0})
    with pytest.raises(ValueError, match="one step"), warnings.catch_warnings():
        link.report(3, {f"m{index}": 0.0 for index in range(MOST_METRICS - 1)})
    for step in (-1, 2**31):
        with pytest.raises(ValueError, match="must be non-negative"):
            link.report(step, {"loss": 0.5})
    told = [(one.step, one.metrics) for one in sent if isinstance(one, Report)]
    assert told == [(3, {"loss": 0.5}), (3, {"f1": 0.25, "loss": 0.5})]


def own_view(rows: list[dict[str, Any]]) -> StudyView:
    fixed = dict.fromkeys(("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"))
    epochs = tuple({**fixed, "seconds": 0.1, "recorded_at": datetime.now(UTC), **row} for row in rows)
    trial = optuna.trial.create_trial(value=0.5, intermediate_values={0: 0.25})
    return StudyView("own", ("maximize",), (trial,), objectives=("f1",), declaration={"(function)": ""}, epochs=epochs)


def test_curves_have_a_column_and_a_figure_for_each_metric() -> None:
    """Of a name that every table has, and of markup, too; and the objective that an earlier hpo kept no metrics of."""
    hostile = "<img src=x>"
    view = own_view(
        [
            {"trial": 0, "epoch": 1, "metrics": {"f1": 0.5, "val_loss": 2.0, "seconds": 7.0, hostile: 1.0}},
            {"trial": 0, "epoch": 2, "metrics": {"val_loss": 1.0}},
        ]
    )
    data = build_report(view)
    curves = data.curves.set_index("step")
    assert list(curves["f1"])[:2] == [0.25, 0.5]
    assert list(curves["val_loss"])[1:] == [2.0, 1.0]
    assert curves.loc[1, ["metrics_seconds", "seconds"]].to_list() == [7.0, 0.1]
    drawing = draw(next(row for row in PLOTS if row.key == "intermediate"), data).drawing
    titles = [figure.layout.yaxis.title.text for figure in drawing.figures]
    assert titles == ["f1", "val_loss", "metrics_seconds", "&lt;img src=x&gt;"]
    assert [figure.layout.xaxis.title.text for figure in drawing.figures] == ["step"] * 4


def test_no_more_figures_than_anybody_looks_at() -> None:
    data = build_report(own_view([{"trial": 0, "epoch": 1, "metrics": {f"m{index}": 0.5 for index in range(20)}}]))
    drawing = draw(next(row for row in PLOTS if row.key == "intermediate"), data).drawing
    assert len(drawing.figures) == 12
    assert "12 of 21 metrics drawn; curves.csv has all." in drawing.notes

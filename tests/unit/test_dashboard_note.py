"""The note that a dashboard shows of a study, and the address that it names."""

from __future__ import annotations

import ipaddress
import re

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from hpo.dashboard.note import note_text
from hpo.dashboard.serving import reachable
from hpo.insight import insight_of
from hpo.results.reading import StudyView

HOSTILE = "![x](http://evil) [y](javascript:1) <img src=x> `z` | **b**\n# head"


def noted(name: str = "digits", about: str = "") -> str:
    trials = []
    for number, choice in enumerate(("plain", HOSTILE)):
        trial = create_trial(
            value=0.5 + number / 10,
            params={HOSTILE: choice},
            distributions={HOSTILE: CategoricalDistribution(["plain", HOSTILE])},
        )
        trial.number = number
        trial.user_attrs = {"seed": 1, **({"origin": "baseline"} if number == 0 else {})}
        trials.append(trial)
    view = StudyView(name, ("maximize",), tuple(trials), {}, objectives=("val_accuracy",))
    return note_text(view, insight_of(view), about=about, link="/report/digits")


def test_a_note_begins_with_the_verdict_and_ends_with_the_report() -> None:
    lines = noted(about="Digits with a perceptron.").splitlines()
    assert lines[0].startswith("**Trial 1 scored 0\\.60000 in the search")
    assert lines[2] == "Digits with a perceptron\\."
    assert lines[-1] == "[The report of digits](/report/digits)"
    assert "| parameter | trial 1 | baseline |" in lines


def test_a_note_says_what_is_not_known_yet_and_that_the_baseline_is_the_best() -> None:
    """As `hpo best` and the report do: the note left the third question out, and named the baseline by its number."""
    trial = create_trial(value=0.5, params={"x": 1}, distributions={"x": CategoricalDistribution([1, 2])})
    trial.number, trial.user_attrs = 0, {"seed": 1, "origin": "baseline"}
    view = StudyView("digits", ("maximize",), (trial,), {}, objectives=("val_accuracy",))
    insight = insight_of(view)
    text = note_text(view, insight, about="", link="/report/digits")
    assert insight.mattered.nothing == "not known yet: it takes 20 finished trials to say; there are 1"
    assert "What mattered: not known yet: it takes 20 finished trials to say; there are 1." in text
    assert "| parameter | trial 0 (baseline) |" in text
    assert "1 finished trial can say little: a longer" in text


def test_nothing_that_somebody_wrote_is_markup() -> None:
    """Names, choices and the description: no link, no picture, no cell of a table of their own."""
    text = noted(HOSTILE, HOSTILE)
    bare = re.sub(r"\\[\\`*_{}\[\]()#+.!|<>~&-]", "", text)
    assert re.findall(r"!\[|<img|javascript:1\)", bare) == []
    assert re.findall(r"\]\((.*?)\)", bare) == ["/report/digits"]
    rows = [line for line in bare.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}


@pytest.mark.parametrize("host", ["127.0.0.1", "gpu7", "10.0.0.3"])
def test_an_address_that_others_can_open_is_named_as_it_is(host: str) -> None:
    assert reachable(host) == host


def test_every_address_of_this_machine_is_named_by_one_that_others_can_open() -> None:
    """http://0.0.0.0/ opens nothing."""
    named = reachable("0.0.0.0")
    assert named != "0.0.0.0"
    try:
        assert not ipaddress.ip_address(named).is_unspecified
    except ValueError:
        assert named  # a host name, where there is no network

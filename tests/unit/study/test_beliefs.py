"""What the user believes of rows: what can be said, what it changes, and what is refused."""

from __future__ import annotations

import io
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from hpo import Categorical, Float, Grid, Int, Prior, Study
from hpo.cli.declarations import space_tables
from hpo.errors import StudyError
from hpo.study.beliefs import CONFIDENCE
from hpo.study.believing import Beliefs
from hpo.study.evolving import compared
from hpo.study.samplers import check_sampler
from hpo.study.space import Space

ROWS: dict[str, Any] = {
    "lr": Float(1e-5, 1e-1, log=True, prior=1e-3),
    "layers": Int(1, 3, prior=Prior(2, confidence=0.8)),
    "units": Int(8, 64, log=True, prior=16).per("layers"),
    "optimizer": Categorical("adam", "sgd", "lamb", prior={"adam": 3, "sgd": 1}),
    "momentum": Float(0.0, 0.99, step=0.11).when(optimizer="sgd"),
}


def study(**rows: Any) -> Study:
    space = {"batch_size": Int(8, 64), "layers": 1, "hidden_units": Int(8, 32).per("layers"), "lr": Float(1e-4, 1e-1)}
    baseline = {"batch_size": 32, "hidden_units": [16], "lr": 1e-2}
    return Study(name="s", dataset="digits", model="mlp", space=space | rows, baseline=baseline)


def drawn(row: Any, count: int = 2000) -> list[Any]:
    beliefs = Beliefs(Space({"row": row}))
    draw = random.Random(1)
    return [beliefs.draw(row, draw.random) for _ in range(count)]


@pytest.mark.parametrize(
    ("row", "near"),
    [
        (Float(1e-5, 1e-1, log=True, prior=1e-3), lambda value: 4e-4 <= value <= 2.5e-3),
        (Float(0.0, 1.0, prior=1.0), lambda value: value >= 0.9),
        (Int(0, 100, step=5, prior=Prior(50, confidence=CONFIDENCE)), lambda value: 40 <= value <= 60),
    ],
)
def test_half_of_the_draws_lie_about_where_the_best_is_believed_to_be(row: Any, near: Callable[[Any], bool]) -> None:
    """Two thirds of those by the belief, a fifth or tenth of the others."""
    values = drawn(row)
    assert all(row.contains(value) for value in values)
    assert 0.37 < sum(map(near, values)) / len(values) < 0.53


def test_a_choice_is_drawn_by_its_weight_and_every_other_still_comes() -> None:
    counts = Counter(drawn(Categorical("adam", "sgd", "lamb", prior={"adam": 3, "sgd": 1})))
    assert [counts[name] / 2000 for name in ("adam", "sgd", "lamb")] == pytest.approx([0.542, 0.292, 0.167], abs=0.04)
    assert Counter(drawn(Categorical("a", None, prior=None)))[None] / 2000 == pytest.approx(0.75, abs=0.04)


def test_what_is_believed_is_likelier_and_a_list_counts_once() -> None:
    beliefs = Beliefs(Space(ROWS))
    good = {"lr": 1e-3, "layers": 2, "units_0": 16, "units_1": 16, "optimizer": "adam"}
    alike = [beliefs.log_odds(good | change) for change in ({"layers": 3, "units_2": 16}, {"momentum": 0.5})]
    assert beliefs.log_odds(good) == alike[1] > alike[0] + 0.1
    for worse in ({"lr": 1e-5}, {"layers": 1}, {"units_1": 64}, {"optimizer": "lamb"}):
        assert beliefs.log_odds(good | worse) < beliefs.log_odds(good) - 0.1
    assert beliefs.log_odds({}) == 0.0
    assert not Beliefs(Space({"lr": Float(0.0, 1.0), "lr_0": 5}))


def test_the_density_is_one_over_the_row() -> None:
    """Of a range, by its middle of a thousand places; of choices, by their mean."""
    ranged, choice = Float(1e-5, 1e-1, log=True, prior=1e-4), Categorical("a", "b", "c", prior=Prior("a", 0.9))
    beliefs = Beliefs(Space({"row": ranged, "of": choice}))
    places = [10 ** (-5 + 4 * (place + 0.5) / 1000) for place in range(1000)]
    assert sum(math.exp(beliefs.log_odds({"row": value})) for value in places) / 1000 == pytest.approx(1.0, abs=1e-3)
    assert sum(math.exp(beliefs.log_odds({"of": value})) for value in "abc") / 3 == pytest.approx(1.0)


def test_a_belief_is_no_part_of_the_table_and_may_change_while_a_study_goes_on() -> None:
    without = study()
    for prior in (1e-3, Prior(1e-2, confidence=0.9)):
        believing = study(lr=Float(1e-4, 1e-1, prior=prior))
        assert believing.fingerprint() == without.fingerprint()
        assert not compared(believing, without.declaration()).changes
    out = io.StringIO()
    Console(file=out, width=120).print(space_tables(believing))
    assert "0.0001 .. 0.1  Prior(value=0.01, confidence=0.9)" in out.getvalue()


def test_a_belief_outlives_per_when_and_added() -> None:
    for row in (Int(1, 9, prior=3), Float(0.0, 9.0, prior=3), Categorical(3, 4, prior=3)):
        assert row.per("n").when(a=1).added(4).belief == Prior(3)  # type: ignore[attr-defined]


def wrong_rows() -> list[tuple[Callable[[], object], str]]:
    nan = float("nan")
    return [
        (lambda: Float(1e-4, 1e-1, prior=1.0), r"prior=1.0 is outside its row: 0.0001 .. 0.1"),
        (lambda: Float(1e-4, 1e-1, prior=nan), "prior=nan is outside its row"),
        (lambda: Float(1.0, 2.0, prior=None), "prior=None is outside its row"),
        (lambda: Float(1.0, 2.0, prior={1.5: 1}), "has weights, and the row is a range"),
        (lambda: Float(1.0, 1.0, prior=1.0), "a row of one value needs no prior"),
        (lambda: Categorical("a", prior="a"), "a row of one value needs no prior"),
        (lambda: Int(0, 10, step=4, prior=3), "prior=3 is outside its row"),
        (lambda: Int(1, 5, prior=True), "prior=True is outside its row"),
        (lambda: Int(1, 5, prior=[2]), r"prior=\[2\] is outside its row"),
        (lambda: Categorical("a", "b", prior="c"), "prior='c' is outside its row: a | b"),
        (lambda: Categorical("a", "b", prior={"c": 1}), "names 'c', which is no choice"),
        (lambda: Categorical("a", "b", prior={"a": -1}), "must give 'a' a weight of at least 0"),
        (lambda: Categorical("a", "b", prior={"a": nan}), "must give 'a' a weight of at least 0"),
        (lambda: Categorical("a", "b", prior={}), "has no weights that can be compared"),
        (lambda: Categorical("a", "b", prior={"a": 1e308, "b": 1e308}), "has no weights that can be compared"),
        *[
            (lambda given=given: Prior(0.5, given), "must have a confidence above 0 and below 1")  # type: ignore[misc]
            for given in (0, 1, 1.0, -0.1, 1.1, nan, "high", True, None)
        ],
        (lambda: study(lr=Prior(1e-3)), "lr=Prior.* must be a number"),
        (lambda: check_sampler(Grid(), Space({"a": Int(1, 2, prior=1)})), 'what is believed of "a" changes nothing'),
    ]


@pytest.mark.parametrize(("make", "wrong"), wrong_rows())
def test_what_cannot_be_believed_is_refused(make: Callable[[], object], wrong: str) -> None:
    with pytest.raises(StudyError) as caught:
        make()
    assert re.search(wrong, str(caught.value))

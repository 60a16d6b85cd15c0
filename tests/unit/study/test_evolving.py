"""A table against the one before: what only widened, and what cannot be kept."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from hpo import TPE, Categorical, Float, Int, NoPruner, Study
from hpo.errors import DeclarationChanged, StudyError
from hpo.study.declaration import check_same_declaration
from hpo.study.discovery import find_study
from hpo.study.evolving import compared, numeric_row
from hpo.study.parameters import UNSAID, Parameter
from hpo.study.space import Space

ROWS: dict[str, Any] = {
    "batch_size": 64,
    "hidden_units": Int(8, 64),
    "lr": Float(1e-4, 1e-1, log=True),
    "optimizer": Categorical("adam", "sgd"),
    "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
}
BASELINE = {"hidden_units": 32, "lr": 1e-2, "optimizer": "adam"}


def make(rows: dict[str, Any] | None = None, **changes: Any) -> Study:
    fields: dict[str, Any] = {"name": "tiny", "dataset": "digits", "model": "shallow", "epochs": 20}
    space = {name: row for name, row in (ROWS | (rows or {})).items() if row is not None}
    given = BASELINE | {"momentum": 0.0}
    searched = Space(space).sample(lambda name, row: given[name] if row.contains(given.get(name)) else row.ends()[0])
    baseline = {name: value for name, value in searched.items() if isinstance(space[name], Parameter)}
    return Study(**(fields | {"space": space, "baseline": baseline} | changes))


@pytest.mark.parametrize(
    "rows",
    [
        {"lr": Float(1e-5, 1e-1, log=True)},
        {"lr": Float(1e-4, 1.0)},
        {"hidden_units": Int(4, 128)},
        {"optimizer": Categorical("rmsprop", "sgd", "adam")},
        {
            "optimizer": Categorical("adam", "sgd", "rmsprop"),
            "momentum": Float(0.0, 0.9).when(optimizer=["sgd", "rmsprop"]),
        },
        {"batch_size": Int(32, 128)},
        {"weight_decay": Float(0.0, 1e-2)},
        {"weight_decay": 0.0},
        {"nesterov": Categorical(False, True).when(optimizer="sgd")},
    ],
)  # fmt: skip
def test_what_widens_keeps_every_trial(rows: dict[str, Any]) -> None:
    difference = compared(make(rows), make().declaration())
    assert {change.row for change in difference.changes} == set(rows)
    assert not difference.lost
    with pytest.raises(DeclarationChanged) as caught:
        check_same_declaration(make(rows), make().declaration(), finished=3)
    assert caught.value.next.startswith("`hpo run --evolve` goes on with it, and keeps every trial")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"lr": Float(1e-3, 1e-1, log=True)}, "narrower: earlier trials may lie outside it"),
        ({"lr": Float(1e-4, 0.09, log=True)}, "narrower: earlier trials may lie outside it"),
        ({"lr": 1e-3}, "earlier trials have other values"),
        ({"lr": Categorical(1e-2, 1e-1)}, "earlier trials have another kind of value"),
        ({"hidden_units": Int(8, 64, step=8)}, "earlier trials may lie between its steps"),
        ({"optimizer": Categorical("adam", "rmsprop"), "momentum": None}, "narrower: earlier trials may have sgd"),
        ({"momentum": Float(0.0, 0.9)}, "it depends on other rows"),
        ({"momentum": Float(0.0, 0.9).when(optimizer=["sgd", "adam"])}, "earlier trials may have optimizer=adam"),
        ({"momentum": None}, "earlier trials have it"),
        ({"batch_size": Int(65, 128)}, "earlier trials have 64, which is outside it"),
        ({"batch_size": 32}, "earlier trials have 64"),
        ({"weight_decay": Float(1e-6, 1e-2, log=True)}, "earlier trials have 0.0, which is outside it"),
        ({"weight_decay": 1e-4}, "earlier trials have 0.0"),
        ({"weight_decay": Float(0.0, 1e-2).added(1e-3)}, "earlier trials have 0.0, and .added() says 0.001"),
    ],
)
def test_what_would_mean_something_else_is_told_with_its_reason(rows: dict[str, Any], why: str) -> None:
    lost = compared(make(rows), make().declaration()).lost
    assert why in [change.why for change in lost] or any(change.why.startswith(why) for change in lost)
    with pytest.raises(DeclarationChanged) as caught:
        check_same_declaration(make(rows), make().declaration(), finished=3)
    assert "--evolve" not in caught.value.next


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"epochs": 21}, True),
        ({"epochs": 19}, False),
        ({"sampler": TPE(startup_trials=3), "pruner": NoPruner()}, True),
        ({"seed": 1}, False),
        ({"subset": 100}, False),
        ({"objective": "val_loss"}, False),
    ],
)
def test_of_the_protocol_more_epochs_and_another_search_keep_every_trial(changes: dict[str, Any], kept: bool) -> None:
    assert bool(compared(make(**changes), make().declaration()).lost) is not kept


def test_what_earlier_trials_had_for_a_new_row_is_known_or_said() -> None:
    rows = {"batch_size": Int(32, 128), "weight_decay": Float(0.0, 0.1), "beta1": Float(0.5, 0.99).added(0.9)}
    assert compared(make(rows), make().declaration()).added == {"batch_size": 64, "weight_decay": 0.0, "beta1": 0.9}
    unsaid = compared(make({"beta1": Float(0.5, 0.99)}), make().declaration()).lost
    assert [change.why for change in unsaid] == ["nothing says what earlier trials had for it; .added(value) does"]


def test_a_trained_function_says_what_earlier_trials_had() -> None:
    fields = {"name": "own", "train": "their_file:train", "objective": "val_loss", "direction": "minimize"}
    before = Study(**fields, space={"lr": Float(0.1, 1.0)}, baseline={"lr": 0.1})
    both = {"lr": Float(0.1, 1.0), "depth": Int(1, 9)}
    assert compared(Study(**fields, space=both, baseline={"lr": 0.1, "depth": 1}), before.declaration()).lost
    said = both | {"depth": Int(1, 9).added(3)}
    difference = compared(Study(**fields, space=said, baseline={"lr": 0.1, "depth": 1}), before.declaration())
    assert (difference.lost, difference.added) == ((), {"depth": 3})
    with pytest.raises(StudyError, match=r"\.added\(10\) is outside its row"):
        Int(1, 9).added(10)


def test_what_a_row_says_of_earlier_trials_changes_neither_its_text_nor_its_equality() -> None:
    for row in (Int(1, 9), Float(0.0, 1.0), Categorical(1, 2)):
        said = row.added(1).per("layers").when(optimizer="sgd")
        assert said.before == 1
        assert str(said) == str(row.per("layers").when(optimizer="sgd"))
        assert said == row.per("layers").when(optimizer="sgd")
    assert pickle.loads(pickle.dumps(Int(1, 9))).before is UNSAID


@pytest.mark.parametrize(
    "row",
    [Int(1, 9), Int(1, 512, log=True), Int(0, 8, step=2), Float(1e-5, 0.1, log=True), Float(0.0, 1.0, step=0.25)],
)
def test_a_range_is_read_from_its_own_text(row: Int | Float) -> None:
    assert numeric_row(row.describe()) == row


@pytest.mark.parametrize("text", ["adam | sgd", "64 fixed", "", "nan .. 1.0", "3 .. 1", "__import__('os') .. 3"])
def test_a_text_that_is_no_range_is_none(text: str) -> None:
    assert numeric_row(text) is None


@pytest.mark.parametrize("value", [{"loader": 1}, ["a"], 5, None, True, "(" * 5000, "9" * 5000, "1 .. " + "[" * 5000])
@pytest.mark.parametrize("row", ["gone", "lr", "(epochs)", "(pruner)", "batch_size"])
def test_whatever_stands_in_the_stored_table_is_a_difference_and_no_bug(row: str, value: object) -> None:
    """A database holds what somebody wrote there; a dict in place of a row ended `hpo run` as a bug."""
    study = find_study("mlp_digits").study
    stored: Any = {**study.declaration(), row: value}
    assert [change.row for change in compared(study, stored).changes] == [row]

"""What hpo records about a trial: one reader, which takes nothing that another script left under the same key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from optuna.trial import create_trial

import hpo
from hpo.storage import trial_record
from hpo.storage.trial_record import TrialRecord, make_record, record_of

ROOT = Path(hpo.__file__).parent


def test_no_file_reads_attributes_of_a_trial_by_name_but_through_the_record() -> None:
    by_name = re.compile(r"user_attrs(\.get\(|\[)[\"']")
    assert [path for path in sorted(ROOT.rglob("*.py")) if by_name.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("failure", "text"), ("metrics", [1]), ("seconds", "long"), ("seconds", float("nan")), ("attempt", True),
     ("origin", 3), ("seed", None), ("git_commit", None)],
)  # fmt: skip
def test_an_attribute_of_another_type_is_as_if_it_were_not_there(key: str, value: Any) -> None:
    trial = create_trial(value=0.5, user_attrs={key: value, "epochs": 3, "mine": "kept"})
    assert record_of(trial) == {"epochs": 3, "mine": "kept"}


def test_every_key_that_is_checked_is_a_key_of_the_record() -> None:
    assert set(trial_record._KINDS) <= set(get_type_hints(TrialRecord))


def test_later_parts_of_a_record_win() -> None:
    assert make_record({"device": "cpu", "seed": 1}, {"device": "cuda:0"}) == {"device": "cuda:0", "seed": 1}


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("failure", {"kind": [], "reason": 3, "traceback": "x", "where": "a.py:1"}, {"where": "a.py:1"}),
        ("failure", {"traceback": ["a", 3], "attempts": "x"}, {}),
        ("metrics", {"val_accuracy": "x", "val_loss": 0.5, "lr": {}, "macs": None}, {"val_loss": 0.5, "macs": None}),
        ("versions", {"torch": 2, "python": "3.11"}, {"python": "3.11"}),
    ],
)
def test_nor_is_what_has_another_type_inside_one(key: str, value: Any, kept: Any) -> None:
    assert record_of(create_trial(value=0.5, user_attrs={key: value})) == {key: kept}


def test_a_number_too_large_for_any_float_is_none() -> None:
    assert record_of(create_trial(value=0.5, user_attrs={"seconds": 10**400, "seed": 10**400})) == {}

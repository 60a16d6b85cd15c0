"""The search never sees the test split; only `hpo evaluate` opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluated_study import QUICK

import hpo
from hpo.errors import StudyError
from hpo.evaluation.evaluate import EvaluateOptions, evaluate
from hpo.settings import Settings


def _searched(url: str, home: Path, poison: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setenv("HPO_STORAGE", url)
    monkeypatch.setenv("HPO_HOME", str(home))
    monkeypatch.setenv("POISON", poison)
    found = hpo.run(QUICK, name=f"quick_{poison}", trials=5, trainers=1)
    return [
        (one.number, one.state, one.params, one.values, one.intermediate_values, one.user_attrs["metrics"])
        for one in found.frozen
    ]


def test_replacing_the_test_split_changes_nothing_in_a_search(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same trials, same values, with a test split as it is, with an inverted one, and with one that cannot be opened;
    `evaluate` is the one that opens it: there the last one is an error."""
    searches = [_searched(database_url, tmp_path, poison, monkeypatch) for poison in ("none", "negative", "raise")]
    assert len(searches[0]) == 5
    assert searches[0] == searches[1] == searches[2]
    options = EvaluateOptions(top=1, seeds=1, name="quick_raise", out=tmp_path / "out", trainers=1)
    with pytest.raises(StudyError, match="the test split was opened"):
        evaluate(QUICK, options, Settings.read())


def test_evaluate_scores_the_test_split_that_is_there(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With inverted test images the test accuracy falls far below the validation score of the search."""
    _searched(database_url, tmp_path, "negative", monkeypatch)
    options = EvaluateOptions(top=1, seeds=1, name="quick_negative", out=tmp_path / "out", trainers=1)
    best = evaluate(QUICK, options, Settings.read()).document["configurations"][0]
    assert best["optimism_gap"] > 0.3

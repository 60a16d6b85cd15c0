"""A finished trial in little memory says what it said, to whoever asks."""

from __future__ import annotations

import copy
import math
import pickle
import tracemalloc
from datetime import datetime
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.finished_trial import FinishedTrial, SharedParts
from hpo.storage.study_cache import StudyCache

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "kind": CategoricalDistribution((None, "a", True)),
}
RECORD = {"config": {"lr": 0.1, "units": [1, 2]}, "worker": "host:1:abc", "metrics": {"loss": math.inf}, "words": "ä"}


def trial(number: int = 0, **changes: Any) -> FrozenTrial:
    fields: dict[str, Any] = {
        "state": TrialState.COMPLETE,
        "value": None,
        "values": [0.5],
        "datetime_start": datetime(2026, 1, 2),
        "datetime_complete": datetime(2026, 1, 3),
        "params": {"lr": 0.01, "kind": None},
        "distributions": dict(SPACE),
        "user_attrs": copy.deepcopy(RECORD),
        "system_attrs": {"tpe:relative_params:0": "{}", "constraints:finite": 1.0},
        "intermediate_values": {1: 0.25, 2: 0.5},
        "trial_id": number + 100,
    }
    return FrozenTrial(number, **{**fields, **changes})


CASES = {
    "complete": trial(),
    "several objectives": trial(values=[0.5, 2.0]),
    "nothing known": trial(values=None, state=TrialState.FAIL, params={}, distributions={}, user_attrs={},
                           system_attrs={}, intermediate_values={}),
    "pruned late": trial(state=TrialState.PRUNED, intermediate_values={5: 0.1, 6: math.inf}),
    "steps with gaps": trial(intermediate_values={7: 0.1, 3: 0.2}),
    "of another space": trial(params={"lr": 0.5}, distributions={"lr": SPACE["lr"]}),
    "never begun": trial(state=TrialState.FAIL, datetime_start=None, values=None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_the_trial_said(name: str) -> None:
    parts = SharedParts()
    FinishedTrial(CASES["complete"], parts)  # what others are compressed by
    given = CASES[name]
    kept = FinishedTrial(given, parts)
    for field in ("number", "state", "values", "datetime_start", "datetime_complete", "params", "distributions",
                  "user_attrs", "system_attrs", "intermediate_values", "constraints", "last_step", "duration",
                  "_trial_id"):  # fmt: skip
        assert getattr(kept, field) == getattr(given, field), field
    assert kept == given
    assert given == kept
    assert kept != trial(99)
    assert repr(kept) == repr(given)
    for other in (copy.copy(kept), copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert type(other) is FrozenTrial
        assert other == given


def test_one_value_or_an_error_for_several() -> None:
    parts = SharedParts()
    assert FinishedTrial(CASES["complete"], parts).value == 0.5
    assert FinishedTrial(CASES["nothing known"], parts).value is None
    with pytest.raises(RuntimeError):
        FinishedTrial(CASES["several objectives"], parts).value  # noqa: B018


def test_what_is_not_a_number_stays_so() -> None:
    kept = FinishedTrial(trial(intermediate_values={1: math.nan}), SharedParts())
    assert math.isnan(kept.intermediate_values[1])


def test_a_changed_copy_leaves_the_trial_as_it_was() -> None:
    kept = FinishedTrial(trial(), SharedParts())
    changed = copy.copy(kept)
    changed.params["lr"] = 1.0
    changed.set_user_attr("new", 1)
    assert kept == trial()


def test_a_finished_trial_takes_less_than_three_kilobytes() -> None:
    """Everything that a study in memory holds of it; the record of a trial of hpo's is as long as this one's."""
    count, record = 2000, {f"fact {number}": "x" * 40 for number in range(30)}
    study = StudyCache(1, "s", (StudyDirection.MAXIMIZE,))
    study.apply([trial(count)])
    tracemalloc.start()
    for number in range(count):
        told = {**record, "metrics": {f"m{index}": number / (index + 7) for index in range(12)}}
        study.apply([trial(number, user_attrs=told, intermediate_values=dict(enumerate([0.1 * number] * 20, 1)))])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / count < 3000


def test_system_attributes_cost_no_look_at_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """CMA-ES, NSGA-II and others read those of every trial for every proposal; a record is ten times as long."""
    kept = FinishedTrial(trial(user_attrs={"a": 1}, system_attrs={"cma:generation": 3}), SharedParts())
    unpacked: list[bytes] = []
    monkeypatch.setattr(SharedParts, "unpack", lambda parts, packed: unpacked.append(packed) or {})
    assert kept.system_attrs == {"cma:generation": 3}
    assert unpacked in ([], [b""])

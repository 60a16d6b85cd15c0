"""Whatever stands in a study file, a space or a journal: an answer or an error of ours, never a traceback.

Durations are in tests/unit/test_duration.py.
"""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from hpo import Categorical, Float, Int, Study
from hpo.errors import HpoError
from hpo.storage.journal import _read
from hpo.study.discovery import find_study
from hpo.study.space import Space

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

SOURCE = Path(__file__).resolve().parents[3].joinpath("studies", "mlp_digits.py").read_text()


@quick
@example(reference="/bin/sh")
@example(reference="~0/")
@given(reference=st.text(max_size=40))
def test_any_reference_is_a_study_or_an_error_that_says_so(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _study_or_error(reference)


@quick
@given(content=st.binary(max_size=200))
def test_any_file_is_a_study_or_an_error_that_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.py"
    path.write_bytes(content)
    _study_or_error(str(path))


@quick
@given(
    start=st.integers(0, len(SOURCE)),
    length=st.integers(0, 40),
    instead=st.text(alphabet="()[]{}=,.\"'0123456789 \nabc-", max_size=5),
)
def test_a_damaged_study_file_is_a_study_or_an_error_that_says_so(
    start: int, length: int, instead: str, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.py"
    path.write_text(SOURCE[:start] + instead + SOURCE[start + length :])
    _study_or_error(str(path))


def _study_or_error(reference: str) -> None:
    before = sys.path.copy()
    try:
        with suppress(HpoError):
            assert isinstance(find_study(reference).study, Study)
    finally:
        sys.path[:] = before


values = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none(), st.just([1, 2]))
options = st.fixed_dictionaries({}, optional={"log": st.booleans(), "step": values})


@quick
@example(kind=Float, low=0, high=10**400, more={})
@example(kind=Float, low=0.0, high=1.0, more={"step": 0.3})
@example(kind=Float, low=0.0, high=1e300, more={"step": 1e-9})
@example(kind=Int, low=0, high=10**400, more={})
@example(kind=Int, low=0, high=9, more={"step": 2})
@given(kind=st.sampled_from([Int, Float]), low=values, high=values, more=options)
def test_any_row_is_a_range_or_an_error_that_says_so(kind: Any, low: Any, high: Any, more: dict[str, Any]) -> None:
    """And a range that is taken can be printed and used for a distribution."""
    from hpo.sampling.distributions import distribution

    try:
        row = kind(low, high, **more)
        space = Space({"row": row})
    except HpoError:
        return
    assert space.describe()["row"]
    step = getattr(row, "step", None) or 1.0
    assume(max(abs(row.low), abs(row.high), step) < 2**50 and step > 1e-9)  # beyond, no float hits every step
    chosen = distribution(row)  # a warning here would be an error
    assert all(row.contains(chosen.to_external_repr(chosen.to_internal_repr(end))) for end in row.ends())


@quick
@given(rows=st.dictionaries(st.text(max_size=5), values, max_size=4), choices=st.lists(values, max_size=3))
def test_any_table_is_a_space_or_an_error_that_says_so(rows: dict[str, Any], choices: list[Any]) -> None:
    with suppress(HpoError):
        Space({**rows, "choice": Categorical(*choices)}).describe()


def _line(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b" " + payload


def _requeue(trial_id: int) -> dict[str, Any]:
    """A line that hpo might have written."""
    nothing = {"params": [], "intermediate": [], "epochs": [], "user_attrs": {}, "system_attrs": {}, "finish": None}
    return {"uid": "u", "study_id": 1, "worker_id": "w", "trial_id": trial_id, "requeue": [0, ""], **nothing}


json_values = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
fields = st.sampled_from([*_requeue(0)])


@quick
@given(
    good=st.lists(st.integers(1, 9), max_size=3),
    strange=st.lists(st.one_of(json_values, st.dictionaries(fields, json_values)), max_size=3),
    junk=st.lists(st.binary(max_size=120), max_size=3),
    cut=st.integers(0, 72),
)
def test_any_journal_gives_its_whole_lines_and_counts_the_others(
    good: list[int], strange: list[Any], junk: list[bytes], cut: int, tmp_path: Path
) -> None:
    """A torn last line, foreign bytes, lines put between, and lines with the right digest that say something else: each
    costs itself only."""
    path = tmp_path / "journal.jsonl"
    whole = [_line(json.dumps(_requeue(trial_id)).encode()) for trial_id in good]
    other = [_line(json.dumps(value).encode()) for value in strange]
    noise = [line for line in junk if line.splitlines() == [line]]
    torn = _line(b'{"a": 1}')[:cut]
    path.write_bytes(b"\n".join([*whole, *other, *noise, *([torn] if torn else [])]))
    records, damaged = _read(path)
    assert records == [_requeue(trial_id) for trial_id in good]
    assert damaged == len(other) + len(noise) + bool(torn)

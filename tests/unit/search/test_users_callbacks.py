"""The user's own functions: all are called, in their order, and one that fails is said once, with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpo import Objective, Study
from hpo.result import Result
from hpo.search.callbacks import Callbacks

STUDY = Study(name="own", objective=Objective("train:objective", direction="minimize"))


@dataclass
class Keeper:
    """Equal to another that has heard the same, and so without a hash."""

    fails: bool = False
    heard: list[Any] = field(default_factory=list)

    def __call__(self, result: Result) -> None:
        self.heard.append(result.stopped)
        if self.fails:
            raise SystemExit("as the user likes")


def test_one_that_fails_is_said_once_and_those_after_it_are_called() -> None:
    first, second, last, said = Keeper(fails=True), Keeper(fails=True), Keeper(), list[str]()
    callbacks = Callbacks(STUDY, {"on_end": [first, second, last]}, said.append)
    for stopped in ("trials", "deadline"):
        callbacks.ended(Result("own", stopped, None, {}, ()))
    assert first.heard == second.heard == last.heard == ["trials", "deadline"]
    assert len(said) == 2
    for sentence in said:
        assert sentence.startswith("on_end failed: SystemExit: as the user likes (")
        assert "test_users_callbacks.py, line" in sentence
        assert sentence.endswith("; the run goes on")

"""Which trials a host trains next where they wait in turn: what the planner makes of the study in memory."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo import Command, Float, FreezeThaw, Objective, Study
from hpo.errors import StudyError
from hpo.messages import Epoch
from hpo.search import ask_tell
from hpo.search.events import Counts
from hpo.search.paused import PausedCheckpoints
from hpo.search.planning import Planner
from hpo.search.standing import Standing
from hpo.storage.study_cache import StudyCache
from hpo.study.pausing import can_wait, search_note
from hpo.trainers.trial import Trial

LR = Float(0.001, 0.1)
STUDY = Study(
    name="planned",
    dataset="digits",
    model="shallow",
    space={"batch_size": 64, "hidden_units": 16, "lr": LR},
    baseline={"lr": 0.01},
    epochs=10,
    search=FreezeThaw(),
)


def trial(number: int, state: TrialState, values: list[float], **attributes: Any) -> FrozenTrial:
    """A trial of the study; its id is 100 more than its number."""
    finished = state.is_finished()
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=[values[-1]] if state is TrialState.COMPLETE or (finished and values) else None,
        datetime_start=None,
        datetime_complete=None,
        params={"lr": 0.01 + 0.001 * number},
        distributions={"lr": FloatDistribution(0.001, 0.1)},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values=dict(enumerate(values, 1)),
        trial_id=100 + number,
    )


def curve(end: float, length: int) -> list[float]:
    return [end * (1.0 - math.exp(-epoch / 3.0)) for epoch in range(1, length + 1)]


class Host:
    """A planner over trials in memory, with a folder for checkpoints."""

    def __init__(self, folder: Path, trials: list[FrozenTrial], study: Study = STUDY, most_bytes: float = 1e9) -> None:
        self.folder = folder
        self.cache = StudyCache(1, study.name, (StudyDirection.MAXIMIZE,))
        self.cache.apply(trials)
        self.planner = Planner(study, 1, self.cache, PausedCheckpoints(folder, most_bytes), "here", 30.0)
        self.planner._others = set()

    def keep(self, *numbers: int, size: int = 10) -> None:
        for number in numbers:
            (self.folder / str(number)).mkdir(parents=True, exist_ok=True)
            (self.folder / str(number) / "current").write_bytes(bytes(size))

    def budget(self, monkeypatch: pytest.MonkeyPatch, others: set[str] | None = None, **counts: Any) -> None:
        workers = [type("Worker", (), {"host": host}) for host in others or ()]
        monkeypatch.setattr("hpo.storage.queries.at_work", lambda *_: workers)
        self.planner.look(None, Counts(**counts))  # type: ignore[arg-type]

    def plan(self, wanted: int = 1) -> list[tuple[int | None, int]]:
        """(number, until) of each decision; None for a new trial."""
        self.planner.plan(wanted, wanted)
        return [(plan.number, plan.until) for plan in self.planner._planned]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "study"


def test_the_baseline_goes_to_its_end_first_also_where_it_was_interrupted(folder: Path) -> None:
    for values in ([], curve(0.9, 3)):
        host = Host(folder, [trial(0, TrialState.WAITING, values), trial(1, TrialState.WAITING, curve(0.95, 4))])
        host.keep(0, 1)
        assert host.plan() == [(0, 10)]


def test_several_slots_get_different_trials(folder: Path) -> None:
    done = [trial(0, TrialState.COMPLETE, curve(0.9, 10))]
    host = Host(folder, [*done, *(trial(n, TrialState.WAITING, curve(0.8 + n / 100, 2)) for n in range(1, 6))])
    host.keep(1, 2, 3, 4, 5)
    plans = [number for number, _ in host.plan(4) if number is not None]
    assert len(plans) == len(set(plans))
    assert len(host.plan(4)) == 4


def test_a_trial_stays_with_the_host_that_has_its_checkpoint_until_that_has_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [trial(0, TrialState.COMPLETE, curve(0.5, 10)), trial(1, TrialState.WAITING, curve(0.99, 5), host="there")]
    for others, here in (({"there"}, False), (set(), True), ({"somewhere"}, True)):
        host = Host(folder, trials)
        host.budget(monkeypatch, others, trials_target=2)
        assert (host.plan() != []) == here, others
    host.keep(1)
    host.budget(monkeypatch, {"there"}, trials_target=2)
    assert host.plan() == [(1, 10)], "both see the folder"


def test_nobody_knows_at_first_which_other_hosts_are_at_work(folder: Path) -> None:
    trials = [trial(0, TrialState.COMPLETE, curve(0.5, 10)), trial(1, TrialState.WAITING, curve(0.99, 5), host="there")]
    host = Host(folder, trials)
    host.planner._others = None
    assert host.plan()[0][0] is None


def test_no_more_trials_begin_than_are_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [trial(0, TrialState.COMPLETE, curve(0.9, 10)), trial(1, TrialState.PRUNED, curve(0.2, 2))]
    host = Host(folder, trials)
    host.budget(monkeypatch, trials_target=4)
    assert [number for number, _ in host.plan(5)] == [None, None]
    assert not host.planner.over
    host.budget(monkeypatch, trials_target=2)
    assert host.plan() == []
    assert host.planner.over


def test_what_cannot_become_the_best_does_not_go_on_once_no_trial_may_begin(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [trial(n, TrialState.COMPLETE, curve(0.9 + n / 1000, 10)) for n in range(4)]
    bad = [trial(n, TrialState.WAITING, curve(0.1, 8)) for n in range(4, 8)]
    host = Host(folder, [*good, *bad])
    host.keep(4, 5, 6, 7)
    host.budget(monkeypatch, trials_target=8)
    assert host.plan(2) == []
    assert host.planner.over
    assert [one.number for one in host.planner._standing.waiting()] == [4, 5, 6, 7]


def test_it_is_not_over_while_another_trial_trains(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(folder, [trial(0, TrialState.COMPLETE, curve(0.9, 10)), trial(1, TrialState.RUNNING, curve(0.2, 2))])
    host.budget(monkeypatch, trials_target=2)
    assert host.plan() == []
    assert not host.planner.over


def test_near_the_deadline_only_what_can_end_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [
        trial(0, TrialState.COMPLETE, curve(0.7, 10), epoch_seconds=10.0),
        trial(1, TrialState.WAITING, curve(0.9, 9), epoch_seconds=10.0),
        trial(2, TrialState.WAITING, curve(0.8, 2), epoch_seconds=10.0),
    ]
    host = Host(folder, trials)
    host.keep(1, 2)
    host.budget(monkeypatch, seconds_left=14.0)
    assert host.plan(3) == [(1, 10)], "the best goes to its end, and nothing else has the time"
    host.budget(monkeypatch, seconds_left=5.0)
    assert host.plan(3) == []
    assert not host.planner.over, "the deadline ends it"


def test_the_worst_lose_their_checkpoints_first(folder: Path) -> None:
    trials = [trial(0, TrialState.COMPLETE, curve(0.7, 10))]
    trials += [trial(n, TrialState.WAITING, curve(n / 10, 2)) for n in range(1, 6)]
    host = Host(folder, trials, most_bytes=25)
    host.keep(1, 2, 3, 4, 5)
    host.plan()
    assert [number for number in range(1, 6) if host.planner._kept.has(number)] == [4, 5]
    assert [one.number for one in host.planner._trials() if one.lost] == [1, 2, 3]


def test_the_best_keeps_a_checkpoint_that_is_too_large_alone(folder: Path) -> None:
    host = Host(folder, [trial(0, TrialState.COMPLETE, [0.1] * 10), trial(1, TrialState.WAITING, [0.5])], most_bytes=5)
    host.keep(1)
    host.plan()
    assert host.planner._kept.has(1)


def test_a_link_in_place_of_a_checkpoint_is_not_followed(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "current").write_bytes(bytes(100))
    folder.mkdir(parents=True)
    (folder / "1").symlink_to(precious)
    PausedCheckpoints(folder, 1.0).remove(1)
    assert (precious / "current").exists()


CURVES = ([0.1] * 5, [0.9, 0.5, 0.2, 0.1], [math.nan] * 3, [0.5], [0.5, math.inf, 0.6])


@pytest.mark.parametrize("values", CURVES, ids=str)
def test_every_curve_and_attribute_leads_to_a_plan(folder: Path, values: list[float]) -> None:
    odd = {"decisions": "x", "epoch_seconds": [3], "host": 7, "train_seconds": "long", "epochs": 0}
    trials = [trial(0, TrialState.COMPLETE, [0.5] * 10), *(trial(n, TrialState.WAITING, values) for n in (1, 2, 3))]
    running = trial(4, TrialState.RUNNING, values, **odd)
    pruned = trial(5, TrialState.PRUNED, [0.3], **{**odd, "decisions": [{"until": 1e300, "after": "x"}, 4]})
    others = [trial(6, TrialState.FAIL, []), trial(7, TrialState.WAITING, [], **odd)]
    host = Host(folder, [*trials, running, pruned, *others])
    host.keep(1, 2, 3)
    for number, until in host.plan(6):
        assert number not in (0, 4, 5, 6)
        assert 1 <= until <= 10


def test_a_trial_that_reported_now_and_then_had_what_it_had_before() -> None:
    cache = StudyCache(1, "s", (StudyDirection.MAXIMIZE,))
    some = trial(0, TrialState.WAITING, [])
    some.intermediate_values = {0: 9.0, 3: 0.5, 5: 0.7, 40: 1.0}
    cache.apply([some, trial(1, TrialState.COMPLETE, [0.25])])
    silent = trial(2, TrialState.COMPLETE, [0.25])
    silent.intermediate_values = {}
    cache.apply([silent])
    standing = Standing(cache, 1, 10, baseline_first=False).trials({})
    assert [list(one.values) for one in standing] == [[0.5, 0.5, 0.5, 0.5, 0.7], [0.25], [0.25] * 10]


def test_a_trial_that_goes_on_where_it_was_to_wait_ends_the_planning_and_says_why(folder: Path) -> None:
    host = Host(folder, [trial(0, TrialState.RUNNING, [])])
    going = Trial(100, 0, 1, {}, {}, "", until=2)
    for epoch in (1, 2, 3):
        host.planner.trained(going, Epoch(100, epoch, {}, 0.1))
    assert not host.planner.gave_up, "its checkpoint may have been one epoch further than was known"
    host.planner.trained(going, Epoch(100, 4, {}, 0.1, replayed=True))
    assert not host.planner.gave_up
    host.planner.trained(going, Epoch(100, 4, {}, 0.1))
    assert host.planner.gave_up
    note = host.planner.take_note()
    assert note.startswith("FreezeThaw() cannot pause trial 0, which went on after epoch 2: no checkpoint could be")
    assert "TPE(" in note
    assert "MedianPruner(" in note
    assert host.planner.take_note() == ""


def test_trials_that_cannot_wait_are_searched_by_sampler_and_pruner_and_the_user_is_told() -> None:
    assert can_wait(STUDY)
    assert search_note(STUDY) == ""
    objective = Study(name="o", objective=Objective("m:f", direction="maximize"), search=FreezeThaw())
    command = Study(
        name="c", command=Command("python t.py --lr {lr}"), space={"lr": LR}, baseline={"lr": 0.01}, objective="acc",
        direction="maximize", search=FreezeThaw(),
    )  # fmt: skip
    for study in (objective, command):
        assert not can_wait(study)
        assert "cannot pause these trials" in search_note(study)
        assert "MedianPruner" in search_note(study)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"objective": ("val_accuracy", "parameters")}, "goes by one objective"),
        ({"folds": 3}, "folds="),
        ({"search": "freeze-thaw"}, "search"),
        ({"search": FreezeThaw}, "search=FreezeThaw()"),
    ],
)
def test_what_it_cannot_go_by_is_refused(fields: dict[str, Any], words: str) -> None:
    rows = {"batch_size": 64, "hidden_units": 16, "lr": LR}
    common = {"name": "s", "dataset": "digits", "model": "shallow", "space": rows, "baseline": {"lr": 0.01}}
    with pytest.raises(StudyError, match="(?s)" + words.replace("(", r"\(").replace(")", r"\)")):
        Study(**{**common, "search": FreezeThaw(), **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(("stopped", "ended"), [(False, "2 paused trials will not go on: pruned"), (True, "")])
def test_a_stop_in_a_dashboard_ends_no_trial_that_waits(
    stopped: bool, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its deadline is over as if the time were up; whoever resumes it would have lost every paused trial."""
    monkeypatch.setattr(ask_tell.queries, "budget", lambda *_: SimpleNamespace(seconds_left=0.0))
    monkeypatch.setattr(ask_tell.queries, "is_stopped", lambda *_: stopped)
    host = object.__new__(ask_tell.AskTell)
    host.study_id = 1
    host._planner = SimpleNamespace(over=False, end_waiting=lambda *_: 2)  # type: ignore[assignment]
    host.synchronise = lambda connection: None  # type: ignore[method-assign,assignment]
    assert host.end_waiting(sqlalchemy.create_engine("sqlite://"), "worker", closing=True) == ended

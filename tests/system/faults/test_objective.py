"""Training of one's own under hpo, by each door: through every death, whatever it does wrong. docs/failures.md."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from doors import DOORS, Door
from frameworks import needs
from odd_objectives import CASES, LEFT, OUT_OF_MEMORY, PRUNED
from optuna.trial import FrozenTrial, TrialState
from own_server import OwnServer
from static_objective import DIES, WAITS
from world import World, until

from hpo.results.evaluation import as_document

HERE = Path(__file__).parent
NewWorld = Any


MARKS = {"hook": needs("lightning")}
each_door = pytest.mark.parametrize(
    "door", [pytest.param(DOORS[name], id=name, marks=MARKS.get(name, ())) for name in DOORS]
)


def reports(world: World) -> int:
    if world.sql("SELECT to_regclass('trial_intermediate_values')")[0][0] is None:
        return 0  # no tables yet
    return int(world.sql("SELECT count(*) FROM trial_intermediate_values")[0][0])


def check_script(world: World, door: Door, trials: int) -> None:
    """Every trial ended, as the script ends them, with the rows that its own values call for and no others."""
    for trial in world.check(finished=trials):
        names = {"layers", "lr", "optimizer", *(f"units_{index}" for index in range(trial.params["layers"]))}
        assert set(trial.params) == names | ({"momentum"} if trial.params["optimizer"] == "sgd" else set())
        assert trial.state.name in ("COMPLETE", "PRUNED"), trial.user_attrs.get("failure")
        if trial.state.name == "COMPLETE":
            assert sorted(trial.intermediate_values) == list(range(door.first, door.first + 6))
            assert trial.value == trial.intermediate_values[door.first + 5]
            assert door is DOORS["command"] or trial.user_attrs["weights"] > 0


def programs(world: World) -> list[str]:
    """Commands of the world's trials that run, or wait to be reaped."""
    place = f"{world.folder}/"  # where its checkpoints are
    words = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(one) for one in words if "command_script.py" in one and any(place in word for word in one)]


def going_on(world: World, state: TrialState, before: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that have reported a new step since `before`, and are in this state now."""
    stood = {one.number: len(one.intermediate_values) for one in before}
    trials = [one for one in world.trials() if one.state is state]
    return [one for one in trials if len(one.intermediate_values) > stood.get(one.number, 0)]


def in_its_midst(world: World, before: list[FrozenTrial]) -> bool:
    return any(len(one.intermediate_values) < 4 for one in going_on(world, TrialState.RUNNING, before))


def check_it_went_on(world: World, door: Door, before: FrozenTrial) -> None:
    """On the other host: with its values, from where it stood; bit for bit the trial that nobody interrupted."""
    after = world.trial(before.number)
    assert {name: after.params[name] for name in before.params} == before.params
    assert after.user_attrs["host"] == "second"
    if door.exact and after.state is TrialState.COMPLETE:  # of one that was pruned it is not recorded
        assert after.user_attrs["resumed_epoch"] >= len(before.intermediate_values)
    elif door is DOORS["command"]:
        (printed,) = (world.folder / "checkpoints").glob(f"*/{before.number}.txt")
        assert "the trial goes on here" in printed.read_text()


@each_door
def test_a_script_for_optuna_runs_through_every_death_and_goes_on_on_another_host(
    new_world: NewWorld, own_server: OwnServer, door: Door
) -> None:
    """SIGKILL for a trainer, for PostgreSQL and for the coordinator, then Ctrl-C; the same command on another host ends
    with exact --trials. An objective comes unchanged, and begins again with the values it had."""
    world = door.script(new_world, url=own_server.url)
    slowly = world.folder / "slowly"
    slowly.touch()
    first = {"OTHER_HOST": "first", **door.slowed(world, slowly)}
    process = world.start(*door.trials(4), **first)
    until(lambda: reports(world) >= 2, "two reports")
    os.kill(process.trainers()[0].pid, signal.SIGKILL)
    process.says("which will be resumed")
    own_server.stop()
    process.says("database away")
    own_server.start()
    seen = reports(world)
    until(lambda: reports(world) > seen + 2, "reports after the database was back")
    process.kill()
    until(lambda: not programs(world), "no program outlives its coordinator", 10)
    before = world.trials()
    process = world.start(*door.trials(4), **first)
    until(lambda: in_its_midst(world, before), "a trial in its midst")
    process.send(signal.SIGINT)
    process.ends(130)
    until(lambda: not programs(world), "the end of the programs", 10)
    assert {trial.state.name for trial in world.trials()} & {"RUNNING", "FAIL"} == set()
    moved = going_on(world, TrialState.WAITING, before)
    assert moved
    output = world.run(*door.trials(4), OTHER_HOST="second")
    check_script(world, door, 4)
    assert "all trials are done" in output
    assert not programs(world)
    for trial in moved:
        check_it_went_on(world, door, trial)
    if door.exact:
        world.run("--trial", str(moved[0].number), command="reproduce")


@pytest.fixture(scope="module")
def expected() -> dict[int, Any]:
    return dict(enumerate(CASES.values()))


def test_whatever_an_objective_does_ends_its_trial_alone(new_world: NewWorld, expected: dict[int, Any]) -> None:
    """Each has one clear outcome, the next trial finds the process as it was, and `study.stop` ends the run."""
    world: World = new_world(study=f"{HERE / 'odd_objectives.py'}:objective", name="odd_objectives", fake=None)
    # Every bug is another one: only the same again and again would end the run.
    output = world.run("--trials", "100", "--direction", "maximize", "--trainers", "1", "--pruner", "none")
    assert "the objective called study.stop()" in output
    assert "trial 0 failed" in output
    assert "that was the baseline" not in output, "a function has none unless it is given one"
    waiting = sum(trial.state is TrialState.WAITING for trial in world.trials())  # asked ahead, and put back
    trials = {trial.number: trial for trial in world.check(finished=len(expected), unfinished=waiting)}
    for (number, wanted), case in zip(expected.items(), CASES, strict=True):
        trial = trials[number]
        if wanted is PRUNED:
            assert (trial.state.name, trial.value) == ("PRUNED", None)
        elif wanted is OUT_OF_MEMORY:
            assert (trial.state.name, trial.constraints) == ("PRUNED", {"memory": 1.0})
        elif isinstance(wanted, str):
            assert trial.user_attrs["failure"]["reason"].endswith(wanted), (case, trial.user_attrs["failure"])
            assert trial.state.name == ("PRUNED" if wanted == "it returned nan" else "FAIL")
        else:
            assert trial.state.name == "COMPLETE", (case, trial.user_attrs.get("failure"))
            assert wanted is None or trial.value == wanted
    attributes = {case.__name__: trials[number] for number, case in enumerate(CASES)}
    assert not [one for one in psutil.process_iter(["cmdline"]) if LEFT in (one.info["cmdline"] or [])]
    assert "a process that the training forked came back from it, and was ended" in output
    assert attributes["twice"].intermediate_values == {1: 0.3, 0: 0.5}
    assert attributes["thread"].intermediate_values == {3: 0.9}
    assert attributes["past"].constraints == {"size": -1.0}
    assert attributes["past"].user_attrs["config"] == {"a": 1}
    assert sum(name.startswith("artifacts:") for name in attributes["artifact"].system_attrs) == 1
    line = (HERE / "odd_objectives.py").read_text().splitlines().index('    raise ZeroDivisionError("by the user")') + 1
    assert attributes["raises"].user_attrs["failure"]["where"].endswith(f"odd_objectives.py:{line}")


def test_a_function_of_a_run_is_checked_and_its_winner_evaluated(new_world: NewWorld) -> None:
    world = DOORS["train"].script(new_world)
    checked = world.run("--device", "cpu", command="check")
    assert "to its first report" in checked
    world.run("--trials", "2")
    output = world.run("--seeds", "2", "--top", "1", "--device", "cpu", command="evaluate")
    assert "trained for good with 2 fresh seeds each, by final(run)" in output
    folder = world.folder / "reports" / "train_script"
    document = json.loads((folder / "evaluation.json").read_text())
    assert document["metric"] == "test_macro_f1"
    assert document["search_rerun"]["same"] is True
    rows = document["configurations"]
    assert all(len(row["runs"]) == 2 and row["score"]["n"] == 2 for row in rows)
    assert as_document(document) == document
    phases = [line.partition(",")[0] for line in (folder / "winner" / "metrics.csv").read_text().splitlines()]
    assert phases == ["phase", *["search"] * 6, *["final"] * 6]
    world.run(command="report")
    page = (folder / "index.html").read_text()
    assert "test_macro_f1 decides" in page
    assert "8 .. 64 log per layers" in page


def hard(new_world: NewWorld, function: str, **fields: Any) -> World:
    study = f"{HERE / 'hard_objectives.py'}:{function}"
    world: World = new_world(study=study, name=f"hard_objectives_{function}", fake=None, **fields)
    return world


@pytest.mark.parametrize(("function", "words"), [("deadlock", ("--direction", "minimize")), ("study", ())])
def test_training_that_hangs_is_left_alone_until_the_deadline(
    new_world: NewWorld, function: str, words: tuple[str, ...]
) -> None:
    """An objective, and a function of a run. Longer than a lease: nobody else takes it, and nothing but the deadline
    ends it."""
    world = hard(new_world, function, lease_seconds=2.0)
    process = world.start("--timeout", "12s", "--trainers", "1", *words)
    until(lambda: world.sql("SELECT to_regclass('trial_params')")[0][0], "tables")
    until(lambda: world.sql("SELECT count(*) FROM trial_params")[0][0], "a trial that runs")
    trainer = process.trainers()[0]
    output = process.ends(0, seconds=60)
    assert not trainer.is_running()
    assert "trainer on" not in output  # ended; that is said of one that died
    assert "time is up" in output
    (over,) = world.sql("SELECT now() >= deadline FROM hpo_studies")[0]
    assert over, "not before"
    assert {trial.state.name for trial in world.trials()} == {"WAITING"}
    assert [row[0] for row in world.sql("SELECT max(attempt) FROM hpo_leases")] == [1]


def test_a_file_that_takes_long_to_import_is_waited_for_but_not_beyond_the_deadline(new_world: NewWorld) -> None:
    world = hard(new_world, "simple", lease_seconds=2.0)
    output = world.run("--timeout", "5s", "--direction", "minimize", code=2, TEST_IMPORT_SECONDS="60")
    assert "the time was up while hard_objectives.py:simple was still being imported" in output
    assert world.sql("SELECT count(*) FROM studies")[0][0] == 0
    output = world.run("--trials", "3", "--direction", "minimize", TEST_IMPORT_SECONDS="11")
    assert output.count("hard_objectives.py:simple is still being imported") == 1
    world.check(finished=3)


def test_what_an_attempt_kept_and_the_next_cannot_read_fails_that_trial_alone(new_world: NewWorld) -> None:
    world = hard(new_world, "keeps")
    output = world.run("--trials", "2", "--direction", "minimize", "--trainers", "1")
    assert "which will be resumed" in output
    first, second = world.check(finished=2)
    assert (first.state.name, second.state.name, second.value) == ("FAIL", "COMPLETE", 1.0)
    line = (
        (HERE / "hard_objectives.py").read_text().splitlines().index('        return float(torch.load(kept)["score"])')
    )
    assert first.user_attrs["failure"]["where"].endswith(f"hard_objectives.py:{line + 1}")


def test_where_nothing_can_be_kept_the_trial_goes_on_and_says_so(new_world: NewWorld) -> None:
    world = hard(new_world, "keeps")
    (world.folder / "in_the_way").write_text("")
    arguments = ("--trials", "2", "--direction", "minimize", "--trainers", "1")
    output = world.run(*arguments, HPO_CHECKPOINT_DIR=str(world.folder / "in_the_way"))
    assert "nothing can be kept in" in output
    assert "this trial begins again if it is cut short" in output
    assert [trial.value for trial in world.check(finished=2)] == [0.0, 1.0]


def test_values_that_came_with_a_trial_are_its_parameters_through_every_death(new_world: NewWorld) -> None:
    """SIGKILL for a trainer and for the coordinator after the first of two values was taken: it stays, and every trial
    has on record what its objective was given."""
    words = ("--direction", "minimize", "--trainers", "1", "--trials", "17")
    path = f"{HERE / 'static_objective.py'}:objective"
    world: World = new_world(study=path, name="static_objective", fake=None, lease_seconds=4.0)
    process = world.start(*words)
    until(lambda: reports(world) >= WAITS + 1, "the trial that waits")
    time.sleep(1.0)  # until its mark is written
    process.kill()
    world.run(*words)
    trials = {trial.number: trial for trial in world.check(finished=17)}
    assert all(trial.params == trial.user_attrs["asked"] for trial in trials.values())
    assert trials[5].user_attrs["came"] == []
    assert trials[16].user_attrs["came"] == ["x", "y"]
    for number in (DIES, WAITS):
        assert trials[number].user_attrs["first"] == [trials[number].params["x"], ["x", "y"]]
        assert trials[number].user_attrs["came"] == []  # when it began again

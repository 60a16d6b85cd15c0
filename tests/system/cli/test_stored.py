"""Reading what is stored: our studies on PostgreSQL, and studies that plain Optuna made anywhere."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from cli_commands import ROOT, Command
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from hpo.dashboard import Dashboard
from hpo.settings import Settings


def fill(url: str, name: str = "plain") -> optuna.Study:
    """A study by plain Optuna: trial 2 is best, trial 3 would be but breaks a constraint."""
    study = optuna.create_study(storage=url, study_name=name, direction="maximize")
    space = {
        "lr": FloatDistribution(1e-5, 1.0, log=True),
        "units_0": IntDistribution(1, 9),
        "units_1": IntDistribution(1, 9),
    }
    for index, (value, constraint) in enumerate([(0.5, -1.0), (0.7, -1.0), (0.9, 0.0), (0.99, 1.0)]):
        params = {"lr": 10.0 ** -(index + 1), "units_0": 1 + index, "units_1": 2 + index}
        study.add_trial(
            create_trial(value=value, params=params, distributions=space, constraints={"memory": constraint})
        )
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.1))
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.enqueue_trial({"lr": 0.5})
    return study


@pytest.fixture(params=["postgresql", "sqlite"])
def plain_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that only plain Optuna has touched."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'study.db'}"
    else:
        url = str(request.getfixturevalue("empty_database_url"))
    fill(url)
    return url


def test_best_as_json_has_the_keys_scripts_rely_on(hpo: Command, plain_url: str) -> None:
    done = hpo("best", "--study", "plain", "--storage", plain_url, "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert set(found) == {"study", "trial", "value", "params", "metrics", "insight"}
    assert (found["study"], found["trial"], found["value"]) == ("plain", 2, 0.9)
    assert found["params"] == {"lr": pytest.approx(1e-3), "units_0": 3, "units_1": 4}


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
def test_lists_mappings_and_none_as_choices_are_read_by_every_command(hpo: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="odd", direction="maximize")
    space = {"units": CategoricalDistribution(([64, 32], [], {"a": [1, None]}, None, True))}  # type: ignore[arg-type]
    for index, choice in enumerate(space["units"].choices):
        study.add_trial(create_trial(value=-float(index), params={"units": choice}, distributions=space))
    where = ("--study", "odd", "--storage", url)
    shown = [json.loads(hpo(*command, *where, "--json").out) for command in (("best",), ("status",), ("trials",))]
    assert shown[0]["params"] == shown[1]["best"]["params"] == {"units": [64, 32]}
    assert [one["params"]["units"] for one in shown[2]] == [[64, 32], [], {"a": [1, None]}, None, True]
    words = hpo("trials", *where).out
    assert all(text in words for text in ("units [64, 32]", "units []", 'units {"a": [1, null]}', "units None"))
    done = hpo("report", *where, "--out", str(tmp_path / "report"))
    assert done.code == 0, done.err


def test_trials_of_which_none_is_eligible_are_not_called_none(hpo: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="far", direction="minimize")
    where = ("--study", "far", "--storage", url)
    assert hpo("trials", *where).out.strip() == "far has no trials yet"
    assert hpo("trials", *where, "--top", "3").out.strip() == "far has no trials yet"
    study.add_trial(create_trial(state=TrialState.FAIL))
    assert hpo("trials", *where, "--top", "3").out.strip() == "far has no best trials: no complete trial yet"
    for value, constraint in ((math.inf, 0.0), (-math.inf, 0.0), (0.5, 1.0)):
        study.add_trial(create_trial(value=value, constraints={"memory": constraint}))
    why = "none of 3 complete trials counts: 2 not finite, 1 breaks a constraint"
    assert hpo("trials", *where, "--top", "3").out.strip() == f"far has no best trials: {why}"
    assert why in hpo("status", *where).out
    assert why in hpo("best", *where).err
    done = hpo("report", *where, "--out", str(tmp_path / "report"))
    assert done.code == 0, done.err
    values = [one["values"] for one in json.loads(hpo("trials", *where, "--json").out)]
    assert values == [None, ["Infinity"], ["-Infinity"], [0.5]]


def test_status_without_a_study_lists_what_the_database_holds(hpo: Command, plain_url: str) -> None:
    """Counts and best of each, in words and for programs."""
    fill(plain_url, "another")
    shown = hpo("status", "--storage", plain_url)
    assert shown.code == 0
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    for name in ("another", "plain"):
        assert f"{name} maximize value 0.90000 4 complete, 1 pruned, 1 failed, 1 waiting none set" in lines
    found = json.loads(hpo("status", "--storage", plain_url, "--json").out)
    assert [(one["study"], one["counts"]["complete"], one["best"]["trial"]) for one in found] == [
        ("another", 4, 2),
        ("plain", 4, 2),
    ]
    assert "--study" in hpo("status", "--storage", plain_url, "--watch").err


def test_no_trial_in_a_state_is_said_in_words(hpo: Command, plain_url: str) -> None:
    done = hpo("trials", "--study", "plain", "--storage", plain_url, "--state", "running")
    assert (done.code, done.out) == (0, "plain has no running trials\n")


def test_status_as_json_has_the_keys_scripts_rely_on(hpo: Command, plain_url: str) -> None:
    found = json.loads(hpo("status", "--study", "plain", "--storage", plain_url, "--json").out)
    assert {"study", "counts", "best", "deadline", "workers"} <= set(found)
    assert found["counts"] == {"complete": 4, "pruned": 1, "failed": 1, "running": 0, "waiting": 1}
    assert found["best"]["trial"] == 2
    assert found["deadline"] is None
    assert found["workers"] == []


@pytest.mark.parametrize(
    "name", ["../../x", "", "n" * 500, "two\nlines", "\x1b[31mred\x1b]0;title\x07\x9b2J", "--help"], ids=ascii
)
def test_no_name_leaves_its_folder_or_commands_the_terminal(hpo: Command, tmp_path: Path, name: str) -> None:
    """Studies, parameters, values and attributes in a shared database come from anybody, lone surrogates included."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name=name)
    choice = CategoricalDistribution(["../\x1b[2J\ud800", "b"])
    params = {"\x1b[8mhidden": "../\x1b[2J\ud800"}
    attributes = {"\0": "\0\udc80", "failure": {"reason": "\x1b[2J\udc80", "kind": ["a"]}, "config": 7, "metrics": [1]}
    for state, value in ((TrialState.COMPLETE, 0.5), (TrialState.COMPLETE, 0.6), (TrialState.FAIL, None)):
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=params,
                distributions={"\x1b[8mhidden": choice},
                user_attrs=attributes,
            )
        )
    around = set(tmp_path.parent.iterdir())
    for words in (["best"], ["status"], ["trials"], ["report"], ["best", "--json"], ["trials", "--json"]):
        done = hpo(*words, "--study", name, "--storage", url)
        assert done.code == 0, done.err
        assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", done.out + done.err) is None
        assert "--json" not in words or json.loads(done.out)
    assert {path.name for path in tmp_path.iterdir()} == {"study.db", "reports"}
    [folder] = (tmp_path / "reports").iterdir()
    assert all(path.is_file() for path in folder.iterdir())
    assert set(tmp_path.parent.iterdir()) == around


def test_people_see_layers_as_one_row(hpo: Command, plain_url: str) -> None:
    out = hpo("best", "--study", "plain", "--storage", plain_url).out
    assert "0.90000  trial 2" in out
    assert "units 3, 4" in " ".join(out.split())


def test_trials_by_number_by_rank_and_by_state(hpo: Command, plain_url: str) -> None:
    def numbers(*words: str) -> list[int]:
        done = hpo("trials", "--study", "plain", "--storage", plain_url, "--json", *words)
        return [trial["trial"] for trial in json.loads(done.out)]

    assert numbers() == [0, 1, 2, 3, 4, 5, 6]
    assert numbers("--top", "2") == [2, 1]
    assert numbers("--state", "pruned") == [4]
    assert numbers("--state", "waiting") == [6]


def test_an_unknown_state_is_a_usage_error(hpo: Command, plain_url: str) -> None:
    done = hpo("trials", "--study", "plain", "--storage", plain_url, "--state", "prunned")
    assert done.code == 2
    assert 'did you mean "pruned"?' in done.err


def test_an_unknown_study_names_the_nearest_and_all(hpo: Command, plain_url: str) -> None:
    fill(plain_url, "other")
    done = hpo("best", "--study", "plian", "--storage", plain_url)
    assert done.code == 2
    assert 'did you mean "plain"?' in done.err
    assert "other, plain" in done.err


def test_names_with_markup_and_quotes_come_out_as_they_are(hpo: Command, tmp_path: Path) -> None:
    name = "[bold]<b>'x\"[/]"
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fill(url, name)
    assert name in hpo("status", "--study", name, "--storage", url).out


def test_a_study_without_a_finished_trial_has_no_best(hpo: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=url, study_name="young")
    done = hpo("best", "--study", "young", "--storage", url)
    assert done.code == 2
    assert "no best trial yet" in done.err
    assert json.loads(hpo("status", "--study", "young", "--storage", url, "--json").out)["best"] is None


def test_several_objectives_give_a_front(hpo: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="two", directions=["maximize", "minimize"])
    for values in ([0.9, 100.0], [0.8, 10.0], [0.7, 50.0]):
        study.add_trial(create_trial(values=values))
    found = json.loads(hpo("best", "--study", "two", "--storage", url, "--json").out)
    assert found["trial"] == 0
    assert [trial["trial"] for trial in found["front"]] == [0, 1]
    shown = hpo("best", "--study", "two", "--storage", url)
    assert shown.code == 0
    assert shown.out.startswith("Pareto front of value 0, value 1: ")


def test_a_database_without_studies(hpo: Command, empty_database_url: str) -> None:
    done = hpo("best", "--study", "plain", "--storage", empty_database_url)
    assert done.code == 4
    assert "holds no studies" in done.err


def test_tables_of_another_optuna(hpo: Command, tmp_path: Path) -> None:
    import sqlalchemy

    url = f"sqlite:///{tmp_path / 'study.db'}"
    fill(url)
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'v9.9.9'"))
    done = hpo("best", "--study", "plain", "--storage", url)
    assert done.code == 4
    assert "another Optuna: schema v9.9.9" in done.err


def test_best_of_a_study_of_plain_optuna_suggests_nothing_that_refuses_it(hpo: Command, plain_url: str) -> None:
    said = hpo("best", "--study", "plain", "--storage", plain_url).out
    assert "`hpo evaluate`" not in said
    assert "`hpo report`" in said


def test_db_init_may_be_repeated_and_hides_the_password(hpo: Command, empty_database_url: str) -> None:
    for _ in range(2):
        done = hpo("db", "init", "--storage", empty_database_url)
        assert done.code == 0
        assert done.out.startswith("ready: ")
        assert done.err == ""
    assert hpo("best", "--study", "x", "--storage", empty_database_url).code == 2


def test_db_init_says_how_long_the_server_that_comes_with_hpo_answers(
    hpo: Command, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its URL is for plain Optuna too, which starts no server."""
    monkeypatch.delenv("HPO_STORAGE", raising=False)
    monkeypatch.setattr("hpo.storage.engine.resolve_url", lambda *_, **__: empty_database_url)
    done = hpo("db", "init")
    assert (done.code, done.out.startswith("ready: ")) == (0, True)
    assert "as long as an hpo command uses it" in done.err


def test_the_dashboard_serves_an_empty_database_until_it_is_told_to_leave(
    empty_database_url: str, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "hpo", "dashboard", "--storage", empty_database_url, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base = process.stdout.readline().strip().removesuffix("/dashboard")
        assert base.startswith("http://127.0.0.1:")
        assert _get(f"{base}/api/studies") == {"study_summaries": []}
        fill(empty_database_url)
        assert len(_get(f"{base}/api/studies")["study_summaries"]) == 1
        assert len(_get(f"{base}/api/studies/1?after=0")["trials"]) == 7
        process.terminate()
        assert process.wait(timeout=20) == 143


def test_the_dashboard_reads_through_optunas_cache(
    empty_database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uncached, a study of a thousand trials takes seconds at every refresh of a browser."""
    given = []
    monkeypatch.setattr("optuna_dashboard.wsgi", lambda storage, **_: given.append(storage))
    with suppress(Exception):  # there is no application to serve: what it would have served is the point
        Dashboard(empty_database_url, settings, port=0)
    assert type(given[0]).__name__ == "_CachedStorage"


def test_a_port_in_use_is_a_usage_error(hpo: Command, empty_database_url: str, settings: Settings) -> None:
    page = Dashboard(empty_database_url, settings, port=0)
    try:
        done = hpo("dashboard", "--storage", empty_database_url, "--port", str(page.port))
        assert done.code == 2
        assert "cannot listen" in done.err
        assert "--port 0" in done.err
    finally:
        page.close()


def _get(url: str) -> dict[str, list[object]]:
    with urllib.request.urlopen(url, timeout=120) as answer:
        found: dict[str, list[object]] = json.load(answer)
    return found


def test_failed_trials_come_with_the_line_and_the_traceback_of_each_error(hpo: Command, tmp_path: Path) -> None:
    """Once for each error, however many trials it ended and whatever their own numbers were."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="failing")
    for number, line in ((7, 12), (8, 12), (9, 30)):
        reason = f"RuntimeError: {number} is not 8"
        failure = {"kind": "failed", "reason": reason, "where": f"my_models.py:{line}"}
        failure["traceback"] = ["Traceback:", f"  line {line}", reason]  # type: ignore[assignment]
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"failure": failure}))
    shown = hpo("trials", "--study", "failing", "--storage", url, "--state", "failed").out
    assert shown.count("my_models.py:12") == 2
    assert "trials 0, 1:\n  Traceback:\n    line 12\n  RuntimeError: 7 is not 8\n" in shown
    assert "trial 2:\n  Traceback:\n    line 30\n" in shown
    assert "Traceback" not in hpo("trials", "--study", "failing", "--storage", url).out


def test_the_names_of_objectives_are_text_and_nothing_else(hpo: Command, tmp_path: Path) -> None:
    """Not markup, and not a line of their own."""
    url = f"sqlite:///{tmp_path}/two.db"
    study = optuna.create_study(storage=url, study_name="two", directions=["minimize", "maximize"])
    study.set_metric_names(["[/loss]", "b\nforged"])
    study.add_trial(create_trial(values=[1.0, 2.0]))
    for command in (("best", "--study", "two"), ("status", "--study", "two"), ("status",)):
        done = hpo(*command, "--storage", url)
        assert done.code == 0, done.err
        assert "\nforged" not in done.out
        assert command == ("status", "--study", "two") or "[/loss]" in done.out

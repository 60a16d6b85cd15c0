"""--workers, HPO_WORKERS and hpo.run(workers=...) still work, and say what they are called now."""

from __future__ import annotations

from typing import Any

import pytest
from cli_commands import Command

import hpo as package
from hpo.errors import UsageError
from hpo.search.options import RunOptions


class Started(Exception):
    """Instead of a search: what it was told."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options


@pytest.fixture
def told(hpo: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `hpo run` with these words hands to `hpo.run`."""
    found: dict[str, Any] = {}

    def run(study: str, **options: Any) -> None:
        found.update(options)
        raise UsageError("far enough")

    monkeypatch.setattr("hpo.api.run", run)

    def command(*words: str) -> tuple[dict[str, Any], str]:
        found.clear()
        return found, hpo("run", "--study", "mlp_digits", "--quiet", *words).err

    return command


@pytest.mark.parametrize(
    ("words", "argument", "value"),
    [
        (["--workers", "3"], "trainers", 3),
        (["--workers=3"], "trainers", 3),
        (["--workers-per-gpu", "2"], "trainers_per_gpu", 2),
        (["--workers-per-gpu", "auto"], "trainers_per_gpu", "auto"),
    ],
)
def test_an_old_option_does_what_the_new_one_does_and_says_its_name(
    told: Any, words: list[str], argument: str, value: object
) -> None:
    options, err = told(*words)
    old = words[0].partition("=")[0]
    assert options[argument] == value
    assert f"note: {old} is now called {old.replace('workers', 'trainers')}; the old name still works\n" in err
    assert err.count("note:") == 1


@pytest.mark.parametrize(("old", "new"), [("HPO_WORKERS", "trainers"), ("HPO_WORKERS_PER_GPU", "trainers_per_gpu")])
def test_an_old_variable_counts_where_neither_the_new_one_nor_an_option_does(
    told: Any, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.setenv(old, "3")
    options, err = told()
    assert options[new] == 3
    assert f"note: {old} is now called HPO_{new.upper()}; the old name still works\n" in err
    option = "--" + new.replace("_", "-")
    assert told(option, "5")[0][new] == 5
    monkeypatch.setenv(f"HPO_{new.upper()}", "4")
    assert f"HPO_{new.upper()} and its old name {old} are both set" in told()[1]
    monkeypatch.setenv(old, "")  # as docker compose passes a variable that is not set
    options, err = told()
    assert options[new] == 4
    assert "note:" not in err


def test_both_names_of_an_option_are_refused(hpo: Command) -> None:
    done = hpo("run", "--study", "mlp_digits", "--workers", "1", "--trainers=2")
    assert done.code == 2
    assert "--trainers and its old name --workers are both given\nnext: leave --workers out" in done.err


@pytest.mark.parametrize("command", ["run", "worker", "evaluate", "check"])
def test_help_has_the_new_names_only(hpo: Command, command: str) -> None:
    text = hpo(command, "--help").out
    assert "--trainers" in text
    assert "--workers" not in text


def test_a_command_without_trainers_does_not_mention_the_variable(
    hpo: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_WORKERS", "3")
    assert hpo("studies").err == ""


@pytest.mark.parametrize(("old", "new"), [("workers", "trainers"), ("workers_per_gpu", "trainers_per_gpu")])
def test_python_takes_the_old_argument_with_a_warning(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    def search(_found: object, options: RunOptions, _settings: object) -> None:
        raise Started(vars(options))

    monkeypatch.setattr("hpo.api.run_search", search)
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"), pytest.raises(Started) as started:
        package.run("mlp_digits", **{old: 3})
    assert started.value.options[new] == 3
    with pytest.raises(UsageError, match=f"{new} and its old name {old} are both given"):
        package.run("mlp_digits", **{old: 3, new: 3})

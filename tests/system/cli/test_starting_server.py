"""A server that is starting, or recovers from a crash: `hpo run` waits for it, and every other command says so."""

from __future__ import annotations

import json

import pytest
from cli_commands import Command
from refusing_server import refusing_server

READING = (
    ("status",),
    ("status", "--study", "mlp_digits"),
    ("status", "--study", "mlp_digits", "--watch"),
    ("best", "--study", "mlp_digits"),
    ("trials", "--study", "mlp_digits"),
    ("report", "--study", "mlp_digits"),
    ("reproduce", "--study", "mlp_digits", "--trial", "0"),
    ("evaluate", "--study", "mlp_digits"),
    ("dashboard", "--port", "0"),
    ("db", "init"),
)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_a_command_says_that_the_server_is_not_up_yet_and_what_to_do(hpo: Command, words: tuple[str, ...]) -> None:
    with refusing_server("57P03", "das Datenbanksystem startet") as url:
        done = hpo(*words, "--storage", url)
    assert done.code == 4, done.err
    assert done.out == ""
    assert "das Datenbanksystem startet" in done.err
    assert "next: wait until the server is up, then run the command again" in done.err
    assert "s3cret" not in done.err


def test_doctor_says_it_as_a_finding(hpo: Command) -> None:
    with refusing_server("57P03", "das Datenbanksystem startet") as url:
        done = hpo("doctor", "--device", "cpu", "--json", "--storage", url)
    found = next(one for one in json.loads(done.out)["findings"] if one["check"] == "database")
    assert (done.code, found["level"]) == (1, "fail")
    assert "wait until the server is up" in json.dumps(found)

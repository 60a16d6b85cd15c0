"""How the database is tried again while it is away."""

from __future__ import annotations

from itertools import pairwise

import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from hpo.errors import StorageError
from hpo.search.events import DatabaseRecovered, DatabaseUnavailable
from hpo.search.outage import LONGEST_PAUSE, Outage, Patience, persistently
from hpo.storage.engine import open_engine


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_to_the_longest_and_no_two_hosts_keep_step() -> None:
    """Half to all of 0.4 s, 0.8 s, ... up to the longest; chance decides where between."""
    hosts = [Outage(longest_pause=2.0) for _ in range(20)]
    for longest in (0.4, 0.8, 1.6, 2.0, 2.0):
        for host in hosts:
            host.failed(OSError("refused"))
        pauses = [host.pause() for host in hosts]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 15


def test_an_outage_is_said_once_and_its_end_once_with_its_length() -> None:
    clock = Clock()
    outage = Outage(1.0, clock)
    assert outage.worked() is None
    assert outage.failed(OSError("refused\nsecond line")) == DatabaseUnavailable("refused")
    clock.now += 7.0
    assert outage.failed(OSError("refused")) is None
    assert outage.seconds == 7.0
    assert outage.worked() == DatabaseRecovered(7.0)
    assert (outage.worked(), outage.seconds) == (None, 0.0)


def refusal(words: str, code: str = "") -> OperationalError:
    driver = psycopg2.OperationalError(words)
    driver.sqlstate = code
    return OperationalError("SELECT 1", None, driver)


RECOVERING = refusal("FEHLER:  das Datenbanksystem ist im Wiederherstellungsmodus", "57P03")
REFUSED = refusal("connection to server at 127.0.0.1 failed: Connection refused")
ENGINE = open_engine("postgresql://me@host/db")


class Action:
    """Fails with each of `errors`, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "opened"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Pauses take no time, and the clock shows that they passed."""
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    monkeypatch.setattr("hpo.search.outage.Outage.__init__.__defaults__", (clock,))
    monkeypatch.setattr("time.sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    return clock


def test_a_server_that_recovers_from_a_crash_is_waited_for_while_a_study_is_opened(clock: Clock) -> None:
    """Also when it refuses connections in between, and with a word to the user each minute."""
    said: list[tuple[float, str]] = []
    action = Action(*[RECOVERING] * 60, REFUSED, *[RECOVERING] * 60)
    notice = lambda sentence: said.append((clock.now, sentence))  # noqa: E731
    assert persistently(ENGINE, action, Patience(300.0, None, notice)) == "opened"
    assert 120 < clock.now - 100 < 300
    times = [100.0, *(when for when, _ in said), clock.now]
    assert times[1] == times[0]
    assert all(60 <= later - earlier < 60 + LONGEST_PAUSE for earlier, later in pairwise(times[1:-1]))
    assert times[-1] - times[-2] < 60 + LONGEST_PAUSE
    assert all("Wiederherstellungsmodus" in sentence for _, sentence in said)


def test_the_wait_ends_with_the_patience(clock: Clock) -> None:
    with pytest.raises(StorageError, match="cannot reach"):
        persistently(ENGINE, Action(*[RECOVERING] * 999), Patience(30.0, None, lambda sentence: None))
    assert 30 < clock.now - 100 < 33


@pytest.mark.parametrize("error", [REFUSED, refusal("Passwort falsch", "28P01"), StorageError("not one of ours")])
def test_what_no_wait_would_mend_is_an_error_at_once(clock: Clock, error: Exception) -> None:
    """A wrong address, a wrong password, another Optuna's tables."""
    action = Action(error)
    with pytest.raises(StorageError):
        persistently(ENGINE, action, Patience(300.0, None, lambda sentence: None))
    assert clock.now == 100.0


def test_an_embedded_server_that_refuses_is_started_again(clock: Clock) -> None:
    started: list[bool] = []
    patience = Patience(300.0, lambda: started.append(True), lambda sentence: None)
    assert persistently(ENGINE, Action(REFUSED, REFUSED), patience) == "opened"
    assert started == [True, True]

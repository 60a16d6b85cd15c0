"""Which of too many connections to the dashboard gives way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hpo.dashboard import connections


class Channel(SimpleNamespace):
    def handle_close(self) -> None:
        self.closed = True


def channel(address: str, created: float, *, served: bool = False) -> Channel:
    return Channel(addr=(address, 1), creation_time=created, requests=["GET"] if served else [], closed=False)


def login(*known: str) -> Any:
    return SimpleNamespace(attempts=SimpleNamespace(knows=lambda address: address in known))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 3)
    monkeypatch.setattr(connections, "MOST_OF_AN_ADDRESS", 2)


@pytest.mark.parametrize(
    ("others", "closed"),
    [
        ([channel("a", 1, served=True), channel("b", 2), channel("c", 3)], 1),
        ([channel("user", 1), channel("b", 2), channel("c", 3)], 1),
        ([channel("b", 1), channel("c", 2), channel("c", 3)], 1),
        ([channel("a", 2), channel("b", 1), channel("c", 3)], 1),
        ([channel("new", 2), channel("new", 1), channel("c", 0)], 1),
        ([channel("a", 1), channel("b", 2)], None),
    ],
    ids=["not one that is served", "not a user's", "the busiest address's", "the oldest", "of its own address", "none"],
)
def test_the_one_worth_least_is_closed(others: list[Channel], closed: int | None) -> None:
    newest = channel("new", 9)
    connections._make_room([*others, newest], newest, login("user"))
    assert [each.closed for each in (*others, newest)] == [index == closed for index in range(len(others) + 1)]


def test_a_request_that_does_not_arrive_is_late() -> None:
    """A header after 20 s, a body after 300."""
    for whole, late in ((False, 20.0), (True, 300.0)):
        half = SimpleNamespace(began=100.0, request=SimpleNamespace(headers_finished=whole))
        assert not connections._is_late(half, 100.0 + late - 1)
        assert connections._is_late(half, 100.0 + late + 1)

"""What a login remembers of those who try."""

from __future__ import annotations

import base64

import pytest

from hpo.dashboard import login as login_module
from hpo.dashboard.login import Login


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"ann:{password}".encode()).decode()


def test_wrong_passwords_fill_no_memory_and_the_latest_are_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_module, "MOST_WRONG", 3)
    login = Login("ann", "right")
    for number in range(6):
        assert not login.admits(basic(f"wrong {number}"), f"10.0.{number}.1")
    assert len(login._wrong) == 3
    spent: list[str] = []
    monkeypatch.setattr(login.attempts, "spend", spent.append)
    assert not login.admits(basic("wrong 5"), "10.0.9.1")
    assert spent == []
    assert not login.admits(basic("wrong 0"), "10.0.9.1")
    assert spent == ["10.0.9.1"]

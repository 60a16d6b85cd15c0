"""A search is opened although its database has just gone away."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from hpo.search import parts
from hpo.search.options import RunOptions
from hpo.settings import Settings
from hpo.storage.embedded.embedded import leave_embedded
from hpo.storage.engine import resolve_url


@pytest.mark.faults
def test_an_embedded_server_killed_while_a_search_is_opened_comes_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(settings: Settings, storage: str | None) -> str:
        url = resolve_url(settings, storage)
        server = psutil.Process(int((Path(settings.home) / "postgres" / "postmaster.pid").read_text().split()[0]))
        server.kill()
        server.wait(60)
        return url

    monkeypatch.setattr(parts, "resolve_url", killed)
    said: list[str] = []
    engine = parts.connect(RunOptions(on_notice=said.append), settings)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()
    leave_embedded(settings.home)
    assert "waiting for the database" in said[0]

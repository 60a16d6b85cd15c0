"""A dashboard that really listens, over a database with one study."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import optuna
import pytest
from dashboard_client import PASSWORD, USER, Client

from hpo.dashboard import Dashboard, Login
from hpo.settings import Settings

Serve = Callable[..., Client]


@pytest.fixture
def serve(empty_database_url: str, settings: Settings) -> Iterator[Serve]:
    """`serve(host="0.0.0.0", login=..., writable=...)`: a client of a dashboard over a database with one study."""
    optuna.create_study(storage=empty_database_url, study_name="precious")
    running: list[tuple[Dashboard, threading.Thread]] = []

    def start(**how: object) -> Client:
        page = Dashboard(empty_database_url, settings, port=0, **how)  # type: ignore[arg-type]
        thread = threading.Thread(target=page.serve, daemon=True)
        thread.start()
        running.append((page, thread))
        return Client(page)

    yield start
    for page, thread in running:
        page.close()
        thread.join(120)
        assert not thread.is_alive()


@pytest.fixture
def login() -> Login:
    return Login(USER, PASSWORD)


@pytest.fixture
def studies(empty_database_url: str) -> Callable[[], list[str]]:
    """The names in the database, whatever the dashboard answered."""
    return lambda: optuna.get_all_study_names(empty_database_url)

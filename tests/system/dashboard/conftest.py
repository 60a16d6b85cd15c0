"""A dashboard that really listens, over a database with one study."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import optuna
import pytest
from dashboard_client import PASSWORD, USER, Client
from optuna.study import StudyDirection
from optuna.trial import create_trial

from hpo.dashboard import Dashboard, Login
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.engine import open_engine

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


@pytest.fixture
def ours(empty_database_url: str, serve: Serve) -> int:
    """The id of a study as hpo makes one, whose name has signs that mean something in an address."""
    serve()  # the first dashboard makes the tables
    engine = open_engine(empty_database_url)
    with engine.begin() as c:
        made = queries.create_study(c, "ours/50% ä", (StudyDirection.MAXIMIZE,), description="  A <b>study</b>.\n")
        declared = {"(objective)": "maximize val_accuracy"}
        queries.register(c, made, fingerprint="f", declaration=declared, source="s", seed=0, facts={"uid": "u"})
    engine.dispose()
    study = optuna.load_study(study_name="ours/50% ä", storage=empty_database_url)
    for value, origin in ((0.5, "baseline"), (0.75, "")):
        trial = create_trial(value=value, user_attrs={"seed": 1, "origin": origin})
        study.add_trial(trial)
    return made

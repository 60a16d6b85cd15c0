"""A study stopped and resumed from a dashboard, and who may."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from dashboard_client import PASSWORD, USER, Client, basic
from sqlalchemy import Engine, text

from hpo.dashboard import Login
from hpo.results.reading import read_study
from hpo.storage import queries
from hpo.storage.engine import open_engine

Serve = Callable[..., Client]
NAME = "ours%2F50%25%20%C3%A4"


@pytest.fixture
def database(empty_database_url: str, ours: int) -> Iterator[Engine]:
    engine = open_engine(empty_database_url)
    yield engine
    engine.dispose()


def asked(client: Client, study: object, stop: object, **headers: str) -> int:
    return client("POST", "/api/hpo/stop", json.dumps({"study": study, "stop": stop}), **headers).status


def left(database: Engine, study: int) -> float | None:
    with database.connect() as connection:
        return queries.budget(connection, study).seconds_left


def test_a_stop_ends_the_study_s_time_and_resuming_gives_back_what_was_left(
    serve: Serve, ours: int, database: Engine
) -> None:
    """Coordinators heed the deadline that the database has (tests/system/search/test_budget.py)."""
    with database.begin() as connection:
        queries.set_budget(connection, ours, 1000.0, 7)
    client = serve()
    page = client("GET", f"/stop/{NAME}").body
    assert re.search(r"<h1>ours/50% ä</h1>.*>Stop this study<", page, re.DOTALL)
    for _ in range(2):  # a second click takes nothing from what is left
        assert asked(client, ours, True) == 200
    seconds = left(database, ours)
    assert seconds is not None
    assert -60 < seconds <= 0
    assert ">Resume this study<" in client("GET", f"/stop/{NAME}").body
    assert read_study(database, "ours/50% ä").stopped
    assert asked(client, ours, False) == 200
    assert not read_study(database, "ours/50% ä").stopped
    seconds = left(database, ours)
    assert seconds is not None
    assert 900 < seconds <= 1000
    with database.connect() as connection:
        assert queries.budget(connection, ours).trials_target == 7
    assert asked(client, ours, False) == 200  # a study that is not stopped keeps its time
    assert (left(database, ours) or 0) > 900


def test_a_run_that_begins_ends_the_stop(serve: Serve, ours: int, database: Engine) -> None:
    """It has a budget of its own; resuming later must not take that away."""
    client = serve()
    assert asked(client, ours, True) == 200
    with database.begin() as connection:
        queries.set_budget(connection, ours, None, None)
        assert not queries.is_stopped(connection, ours)
    assert ">Stop this study<" in client("GET", f"/stop/{NAME}").body
    assert asked(client, ours, True) == 200  # and again
    assert asked(client, ours, False) == 200
    assert left(database, ours) is None


def test_an_attribute_of_the_user_s_own_is_left_alone(serve: Serve, ours: int, database: Engine) -> None:
    """One that is called "stopped" was taken for hpo's, and deleted."""
    with database.begin() as connection:
        own = {"study": ours}
        connection.execute(
            text(
                "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (:study, 'stopped', '\"mine\"')"
            ),
            own,
        )
    client = serve()
    assert [asked(client, ours, stop) for stop in (True, False)] == [200, 200]
    with database.connect() as connection:
        kept = connection.execute(
            text("SELECT key, value_json FROM study_user_attributes WHERE study_id = :study AND key LIKE '%stopped'"),
            own,
        )
        assert [tuple(row) for row in kept] == [("stopped", '"mine"')]


def test_what_somebody_else_wrote_there_is_no_limit(serve: Serve, ours: int, database: Engine) -> None:
    client = serve()
    assert asked(client, ours, True) == 200
    with database.begin() as connection:
        connection.execute(text("UPDATE study_user_attributes SET value_json = '[' WHERE key = 'hpo:stopped'"))
    assert asked(client, ours, False) == 200
    assert left(database, ours) is None


def test_only_hpo_s_studies_are_stopped_and_only_by_who_may(
    serve: Serve, ours: int, database: Engine, login: Login
) -> None:
    client = serve()
    plain = ours - 1 if ours > 1 else ours + 1
    wrong = [asked(client, study, stop) for study, stop in ((plain, True), (10**12, True), (ours, 1), ("1", True))]
    assert wrong == [404, 400, 400, 400]
    assert client("GET", "/stop/precious").status == 404
    elsewhere = serve(host="0.0.0.0", login=login)
    assert asked(elsewhere, ours, True) == 401
    known = basic(USER, PASSWORD)
    assert asked(elsewhere, ours, True, authorization=known) == 403  # it only shows
    assert elsewhere("GET", f"/stop/{NAME}", authorization=known).status == 404
    assert left(database, ours) is None
    writable = serve(host="0.0.0.0", login=login, writable=True)
    assert asked(writable, ours, True, authorization=known, Sec_Fetch_Site="cross-site") == 403
    assert asked(writable, ours, True, authorization=known) == 200


def test_the_note_says_where_only_to_who_may(serve: Serve, ours: int, login: Login) -> None:
    path = f"/api/studies/{ours}"
    assert f"[stop or resume it](/stop/{NAME})" in json.loads(serve()("GET", path).body)["note"]["body"]
    shown = serve(host="0.0.0.0", login=login)("GET", path, authorization=basic(USER, PASSWORD))
    assert "/stop/" not in shown.body


def test_a_dashboard_that_only_shows_hides_what_it_forbids(serve: Serve, login: Login) -> None:
    known = basic(USER, PASSWORD)
    shown = serve(host="0.0.0.0", login=login)
    page = shown("GET", "/dashboard", authorization=known).body
    for hidden in ('[aria-label="delete study"]', '[data-testid="UploadFileIcon"]', '[data-testid="EditIcon"]'):
        assert hidden in page
    assert "display: none !important" not in serve()("GET", "/dashboard").body


def test_who_sends_no_login_is_told_what_to_do(serve: Serve, login: Login) -> None:
    said = serve(host="0.0.0.0", login=login)("GET", "/dashboard")
    assert said.status == 401
    assert "HPO_DASHBOARD_PASSWORD" in said.body
    assert USER not in said.body

"""What hpo adds to optuna-dashboard: the note of a study, the names of its objectives, its report."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from dashboard_client import PASSWORD, USER, Client, basic

from hpo.dashboard import Login

Serve = Callable[..., Client]


def detail(client: Client, study: int, *more: str) -> dict[str, object]:
    answer = client("GET", f"/api/studies/{study}{''.join(more)}")
    assert answer.status == 200
    found: dict[str, object] = json.loads(answer.body)
    return found


def test_a_study_has_its_metric_s_name_and_a_note_that_says_what_it_found(serve: Serve, ours: int) -> None:
    found = detail(serve(), ours)
    assert found["objective_names"] == ["val_accuracy"]
    note = found["note"]
    assert isinstance(note, dict)
    assert note["version"] == 0
    assert note["body"].startswith("**Trial 1 scored 0\\.75000 in the search, 0\\.25000 better than the baseline")
    assert "A \\<b\\>study\\</b\\>\\." in note["body"]
    assert "(/report/ours%2F50%25%20%C3%A4)" in note["body"]
    assert len(found["trials"]) == 2  # type: ignore[arg-type]


def test_a_note_that_somebody_wrote_stays(serve: Serve, ours: int) -> None:
    client = serve()
    written = json.dumps({"version": 1, "body": "mine"})
    assert client("PUT", f"/api/studies/{ours}/note", written).status == 204
    assert detail(client, ours)["note"] == {"version": 1, "body": "mine"}


def test_a_study_of_plain_optuna_is_shown_as_it_is_named(serve: Serve) -> None:
    """Its objectives have no names but those that it gave them."""
    found = detail(serve(), 1)
    assert "objective_names" not in found
    assert "No best trial yet" in str(found["note"])


def test_the_report_is_served_live_and_as_an_artifact_in_an_origin_of_its_own(serve: Serve, ours: int) -> None:
    answer = serve()("GET", "/report/ours%2F50%25%20%C3%A4")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    assert "Trial 1 scored 0.75000 in the search" in answer.body
    client = serve()
    (listed,) = detail(client, ours)["artifacts"]  # type: ignore[misc]
    assert (listed["filename"], listed["mimetype"]) == ("report.html", "text/html")
    attached = client("GET", f"/artifacts/{ours}/{listed['artifact_id']}")
    assert attached.status == 200
    assert attached.headers["content-security-policy"] == answer.headers["content-security-policy"]
    assert "Trial 1 scored 0.75000 in the search" in attached.body
    assert client("GET", f"/artifacts/{ours - 1}/{listed['artifact_id']}").status == 404  # another study's
    assert client("DELETE", f"/api/artifacts/{ours}/{listed['artifact_id']}").status == 404  # nothing to delete
    missing = serve()("GET", "/report/nothing")
    assert missing.status == 404
    assert 'no study "nothing"' in missing.body


def test_a_stranger_sees_no_report(serve: Serve, ours: int, login: Login) -> None:
    client = serve(host="0.0.0.0", login=login)
    path = "/report/ours%2F50%25%20%C3%A4"
    assert client("GET", path).status == 401
    assert client("GET", f"/artifacts/{ours}/{uuid.uuid5(uuid.NAMESPACE_URL, f'hpo:report:{ours}')}").status == 401
    assert client("GET", path, authorization=basic(USER, PASSWORD)).status == 200

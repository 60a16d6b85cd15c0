"""Who may do what on the dashboard, by hand-made requests to a real server; the database has the last word."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from dashboard_client import PASSWORD, USER, Client, basic
from optuna.study import StudyDirection

from hpo.dashboard import Login
from hpo.storage import queries
from hpo.storage.engine import open_engine

Serve = Callable[..., Client]
Names = Callable[[], list[str]]

KEY = basic(USER, PASSWORD)
CREATE = ("POST", "/api/studies", json.dumps({"study_name": "new", "directions": ["minimize"]}))
DELETE = ("DELETE", "/api/studies/1")


def test_a_stranger_may_neither_delete_nor_read(serve: Serve, login: Login, studies: Names) -> None:
    client = serve(host="0.0.0.0", login=login, writable=True)
    for request in (DELETE, CREATE, ("GET", "/api/studies"), ("GET", "/dashboard"), ("GET", "/static/bundle.js")):
        answer = client(*request)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert "precious" not in answer.body
    assert studies() == ["precious"]


def test_a_study_of_hpo_is_not_renamed_and_one_of_plain_optuna_is(
    serve: Serve, studies: Names, empty_database_url: str
) -> None:
    """optuna-dashboard renames by a copy under another id, which would leave hpo's own tables behind."""
    client = serve()
    engine = open_engine(empty_database_url)
    with engine.begin() as c:
        study_id = queries.create_study(c, "ours", (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
    engine.dispose()
    renamed = json.dumps({"study_name": "renamed"})
    for path in (f"/api/studies/{study_id}/rename", f"//api/studies//{study_id}/rename/"):
        answer = client("POST", path, renamed)
        assert answer.status >= 400, path
    answer = client("POST", f"/api/studies/{study_id}/rename", renamed)
    assert (answer.status, "keeps its name" in json.loads(answer.body)["reason"]) == (400, True)
    assert sorted(studies()) == ["ours", "precious"]
    assert client("POST", "/api/studies/1/rename", renamed).status == 201
    assert sorted(studies()) == ["ours", "renamed"]


@pytest.mark.parametrize(
    "header",
    [
        basic(USER, "wrong"),
        basic("bob", PASSWORD),
        basic(USER, ""),
        basic(USER, PASSWORD + " "),
        basic("", ""),
        "Basic",
        "Basic !!!",
        "Basic YW5u",
        f"Bearer {KEY.split()[1]}",
        KEY + "=",
    ],
)
def test_only_the_right_user_and_password_open(serve: Serve, login: Login, header: str) -> None:
    client = serve(host="0.0.0.0", login=login)
    assert client("GET", "/api/studies", Authorization=header).status == 401
    assert client("GET", "/api/studies", Authorization=KEY).status == 200
    # Also after the right one has been seen, when it is recognised by a quicker way.
    assert client("GET", "/api/studies", Authorization=header).status == 401


def test_others_read_and_change_nothing(serve: Serve, login: Login, studies: Names) -> None:
    client = serve(host="0.0.0.0", login=login)
    found = json.loads(client("GET", "/api/studies", Authorization=KEY).body)
    assert [study["study_name"] for study in found["study_summaries"]] == ["precious"]
    writing = [DELETE, CREATE, ("PUT", "/api/studies/1/note", "{}"), ("PATCH", "/api/studies/1"), ("BREW", "/")]
    for request in writing:
        answer = client(*request, Authorization=KEY)
        assert answer.status == 403
        assert "--writable" in answer.body
    assert studies() == ["precious"]


def test_a_writable_one_lets_the_user_change_things(serve: Serve, login: Login, studies: Names) -> None:
    client = serve(host="0.0.0.0", login=login, writable=True)
    origin = f"http://{client.host}"
    assert client(*CREATE, Authorization=KEY, Origin=origin, Sec_Fetch_Site="same-origin").status == 201
    assert studies() == ["precious", "new"]
    assert client(*DELETE, Authorization=KEY).status == 204
    assert studies() == ["new"]


def test_a_loopback_address_needs_no_login_and_is_writable(serve: Serve, studies: Names) -> None:
    client = serve()
    assert client("GET", "/api/studies").status == 200
    assert client(*CREATE).status == 201
    assert studies() == ["precious", "new"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Referer": "http://evil.example/page"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": ""},
    ],
    ids=str,
)
def test_other_web_sites_change_nothing(serve: Serve, studies: Names, headers: dict[str, str]) -> None:
    """Also on a loopback address: the user's own browser would carry the request there."""
    client = serve()
    assert client(*CREATE, **headers).status in (403, 415)
    if "Content_Type" not in headers:
        assert client(*DELETE, **headers).status == 403
    assert studies() == ["precious"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::1", "10.0.0.9"]
)
def test_a_name_pointed_at_this_machine_is_no_way_in(serve: Serve, studies: Names, host: str) -> None:
    """DNS rebinding: the browser thinks it talks to evil.example, so nothing else would stop the page."""
    client = serve()
    assert client("GET", "/api/studies", Host=host).status == 403
    assert client(*DELETE, Host=host, Origin=f"http://{host}").status == 403
    assert studies() == ["precious"]


def test_it_is_reached_through_a_tunnel(serve: Serve) -> None:
    """`ssh -L 9000:127.0.0.1:8080` changes the port that the browser sees."""
    client = serve()
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000", "LOCALHOST"):
        assert client("GET", "/api/studies", Host=host).status == 200


def test_it_is_reached_through_a_proxy_with_tls(serve: Serve, login: Login) -> None:
    client = serve(host="0.0.0.0", login=login, writable=True)
    headers = {"Host": "hpo.example", "Origin": "https://hpo.example", "Sec_Fetch_Site": "same-origin"}
    assert client(*CREATE, Authorization=KEY, **headers).status == 201


def test_no_other_site_may_frame_it(serve: Serve) -> None:
    headers = serve()("GET", "/dashboard").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "script-src 'self'" in headers["content-security-policy"]


def test_a_file_attached_to_a_study_runs_no_script_and_is_not_for_other_sites(serve: Serve) -> None:
    """optuna-dashboard serves it from its own address under whatever type its name says, and to every site."""
    client = serve()
    page = "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="
    made = client("POST", "/api/artifacts/1", json.dumps({"file": page, "filename": "page.html"}))
    file = client("GET", f"/artifacts/1/{json.loads(made.body)['artifact_id']}")
    assert file.body == "<script>alert(1)</script>"
    assert file.headers["content-type"] == "text/html"
    assert file.headers["content-security-policy"].startswith("sandbox;")
    assert file.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in file.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/artifacts/1/../../../../etc/passwd",
        "/artifacts/1/..%2f..%2fpostgres%2fPG_VERSION",
        "/csv/1%0d%0aSet-Cookie:%20a=b",
    ],
)
def test_no_path_leads_out_of_its_folder(serve: Serve, path: str) -> None:
    """Refused as a page that is not there, also when asked by a program that accepts no compression."""
    answer = serve()("GET", path)
    assert answer.status in (403, 404)
    assert "set-cookie" not in answer.headers


def test_a_request_too_large_is_refused_before_anybody_looks_at_it(serve: Serve, login: Login) -> None:
    client = serve(host="0.0.0.0", login=login)
    assert client("POST", "/api/studies", Content_Length=str(2 << 20)).status == 413

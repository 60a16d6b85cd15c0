"""The dashboard in a real browser: the login, what it shows, and that no name or attribute runs as a script."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import optuna
import optuna_dashboard
import pytest

from hpo.dashboard import Dashboard, Login
from hpo.settings import Settings

pytestmark = pytest.mark.browser

USER, PASSWORD = "ann", "correct horse: battery"
EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'


@pytest.fixture
def address(empty_database_url: str, settings: Settings) -> Iterator[str]:
    """Of a dashboard behind a login, over a study whose every text is hostile."""
    study = optuna.create_study(storage=empty_database_url, study_name=f"study {EVIL}")
    study.set_user_attr(f"attr {EVIL}", EVIL)
    study.set_user_attr("dashboard:note:0", EVIL)
    for value in (1.0, 2.0):
        study.enqueue_trial({f"row {EVIL}": EVIL})  # not the tame one, by luck
        trial = study.ask()
        trial.suggest_categorical(f"row {EVIL}", [EVIL, "tame"])
        trial.set_user_attr(f"attr {EVIL}", EVIL)
        study.tell(trial, value)
    page = Dashboard(empty_database_url, settings, host="0.0.0.0", port=0, login=Login(USER, PASSWORD))
    thread = threading.Thread(target=page.serve)
    thread.start()
    yield f"http://127.0.0.1:{page.port}"
    page.close()
    thread.join(120)


def test_without_the_password_there_is_nothing_to_see(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(240_000)
    with pytest.raises(Exception, match="ERR_INVALID_AUTH_CREDENTIALS"):
        page.goto(f"{address}/dashboard")
    context.close()


def test_with_the_password_the_study_shows_and_nothing_in_it_runs(browser: Any, address: str) -> None:
    context = browser.new_context(http_credentials={"username": USER, "password": PASSWORD})
    page = context.new_page()
    page.set_default_timeout(240_000)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for path in ("/dashboard", "/dashboard/studies/1", "/dashboard/studies/1/trials", "/dashboard/studies/1/note"):
        page.goto(f"{address}{path}")
        page.wait_for_load_state("networkidle")
        if path == "/dashboard":
            page.get_by_text(f"study {EVIL}").first.wait_for()
        assert page.evaluate("window.pwned") is None
    assert dialogs == []
    context.close()


def test_the_browser_itself_is_refused_a_change(browser: Any, address: str) -> None:
    """The page's own script, with the password, on a dashboard that only shows."""
    context = browser.new_context(http_credentials={"username": USER, "password": PASSWORD})
    page = context.new_page()
    page.set_default_timeout(240_000)
    page.goto(f"{address}/dashboard")
    status = page.evaluate("fetch('/api/studies/1', {method: 'DELETE'}).then(answer => answer.status)")
    assert status == 403
    assert page.evaluate("fetch('/api/studies').then(answer => answer.status)") == 200
    context.close()


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_another_site_can_neither_read_nor_change_a_dashboard_without_a_login(
    page: Any, empty_database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of another server, in the browser of somebody who has a writable dashboard open on this machine."""
    optuna.create_study(storage=empty_database_url, study_name="precious")
    came_through: list[str] = []
    original = optuna_dashboard.wsgi

    def watched(*args: Any, **options: Any) -> Any:
        application = original(*args, **options)

        def watch(environ: dict[str, Any], start: Any) -> Any:
            came_through.append(environ["REQUEST_METHOD"])
            return application(environ, start)

        return watch

    monkeypatch.setattr(optuna_dashboard, "wsgi", watched)
    dashboard = Dashboard(empty_database_url, settings, port=0)
    other = ThreadingHTTPServer(("127.0.0.1", 0), _Blank)
    threads = [threading.Thread(target=dashboard.serve), threading.Thread(target=other.serve_forever)]
    for thread in threads:
        thread.start()
    page.goto(f"http://localhost:{other.server_port}/")
    target = f"'http://127.0.0.1:{dashboard.port}/api/studies'"
    form = '{method: \'POST\', mode: \'no-cors\', body: \'{"study_name": "new", "directions": ["minimize"]}\'}'
    page.evaluate(f"fetch({target}, {form}).catch(() => 0)")
    read = page.evaluate(f"fetch({target}).then(answer => answer.text()).catch(() => 'refused')")
    page.evaluate(f"fetch({target} + '/1', {{method: 'DELETE'}}).catch(() => 0)")
    dashboard.close()
    other.shutdown()
    other.server_close()
    for thread in threads:
        thread.join(120)
    assert set(came_through) <= {"GET", "OPTIONS"}
    assert read == "refused"
    assert optuna.get_all_study_names(empty_database_url) == ["precious"]

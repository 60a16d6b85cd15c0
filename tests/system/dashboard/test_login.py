"""Where the password comes from, where it never shows, and what is refused before anything listens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dashboard_client import PASSWORD, USER, basic

from hpo.cli.main import run_command
from hpo.dashboard import Dashboard, Login, read_login
from hpo.errors import UsageError
from hpo.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_password_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file, other = tmp_path / "password", tmp_path / "other"
    file.write_text(f"{PASSWORD}\n")
    other.write_text("another")
    cases = [
        (file, {}),
        (None, {"HPO_DASHBOARD_PASSWORD": PASSWORD}),
        (None, {"HPO_DASHBOARD_PASSWORD_FILE": str(file)}),
        (file, {"HPO_DASHBOARD_PASSWORD": "another", "HPO_DASHBOARD_PASSWORD_FILE": str(other)}),
        (None, {"HPO_DASHBOARD_PASSWORD": PASSWORD, "HPO_DASHBOARD_PASSWORD_FILE": str(other)}),
    ]
    for option, environ in cases:
        assert read_login(USER, option, environ).admits(basic(USER, PASSWORD))


@pytest.mark.parametrize(
    ("user", "content", "complaint"),
    [
        ("", "x", "not a user name"),
        ("a:b", "x", "without a colon"),
        ("a\nb", "x", "not a user name"),
        ("ann", "", "is empty"),
        ("ann", "\n", "is empty"),
        ("ann", b"\xff\xfe", "not UTF-8"),
        ("ann", None, "cannot read the password file"),
    ],
)
def test_a_login_that_could_not_work_is_refused(
    tmp_path: Path, user: str, content: str | bytes | None, complaint: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=complaint):
        read_login(user, file, {})


def test_a_user_without_a_password_is_refused_naming_both_ways() -> None:
    with pytest.raises(UsageError, match=r"HPO_DASHBOARD_PASSWORD.*--password-file"):
        read_login("ann", None, {"HPO_DASHBOARD_PASSWORD": ""})


def test_the_login_keeps_no_password() -> None:
    """Neither in an attribute nor in what a traceback or a debugger would show of it."""
    login = Login(USER, PASSWORD)
    assert login.admits(basic(USER, PASSWORD))
    kept = repr(vars(login)) + repr(login)
    assert PASSWORD not in kept
    assert basic(USER, PASSWORD).split()[1] not in kept


def test_a_password_file_that_nobody_is_asked_for_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["dashboard", "--password-file", "x"]) == 2
    assert "--auth USER" in capsys.readouterr().err


def test_an_open_address_is_refused_before_the_database_is_touched(settings: Settings) -> None:
    with pytest.raises(UsageError, match="--auth USER"):
        Dashboard(None, settings, host="0.0.0.0", port=0)
    assert not settings.home.exists()


def test_the_password_shows_neither_in_the_process_list_nor_in_the_output(
    empty_database_url: str, tmp_path: Path
) -> None:
    words = ["dashboard", "--storage", empty_database_url, "--host", "0.0.0.0", "--port", "0", "--auth", USER]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HPO_DASHBOARD_PASSWORD": PASSWORD}
    with subprocess.Popen(
        [sys.executable, "-m", "hpo", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[2].split("/")[0])
        for value in (basic(USER, PASSWORD), basic(USER, PASSWORD + "!")):
            with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
                request = f"GET /api/studies HTTP/1.0\r\nHost: x\r\nAuthorization: {value}\r\n\r\n"
                connection.sendall(request.encode())
                assert connection.recv(12).endswith(b"200" if value.endswith(basic(USER, PASSWORD)) else b"401")
        assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert PASSWORD not in out + err
    assert "read-only" in err
    assert "unencrypted" in err

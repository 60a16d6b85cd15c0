"""What strangers may do to a dashboard behind a login: guess slowly, send by halves, and lock nobody out."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from dashboard_client import PASSWORD, USER, Client, basic

from hpo.dashboard import Login, connections
from hpo.dashboard.attempts import TooManyAttempts

Serve = Callable[..., Client]
KEY = basic(USER, PASSWORD)
ASK = ("GET", "/api/studies")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every credential that scrypt was asked about."""
    asked: list[bytes] = []
    real = Login._slow

    def count(self: Login, credentials: bytes) -> bytes:
        asked.append(credentials)
        return real(self, credentials)

    monkeypatch.setattr(Login, "_slow", count)
    return asked


def test_sixty_wrong_passwords_at_once_cost_a_few_tries_and_hold_nobody_up(
    serve: Serve, login: Login, slow: list[bytes]
) -> None:
    client = serve(host="0.0.0.0", login=login)
    assert client(*ASK, Authorization=KEY).status == 200
    with ThreadPoolExecutor(60) as pool:
        guesses = [pool.submit(client, *ASK, Authorization=basic(USER, str(number))) for number in range(60)]
        known = [pool.submit(client, *ASK, Authorization=KEY) for _ in range(5)]
        assert {each.result().status for each in known} == {200}
        answers = [each.result() for each in guesses]
    assert {answer.status for answer in answers} <= {401, 429}
    assert len(slow) <= 1 + 5, "one right, then the tries of an address"
    for number in range(6):
        refused = client(*ASK, Authorization=basic(USER, f"another {number}"))
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    assert client(*ASK, Authorization=KEY).status == 200


def test_only_two_wait_for_scrypt_and_the_others_are_refused_at_once(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So two of the server's four threads stay free."""
    inside, go_on = threading.Event(), threading.Event()

    def wait(self: Login, credentials: bytes) -> bytes:
        inside.set()
        go_on.wait(20)
        return b""

    monkeypatch.setattr(Login, "_slow", wait)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(login.admits, basic(USER, str(number)), "10.0.0.1") for number in range(2)]
        assert inside.wait(60)
        until = time.monotonic() + 20
        while login._queue._value and time.monotonic() < until:  # the second stands in the queue, too
            time.sleep(0.01)
        with pytest.raises(TooManyAttempts):
            login.admits(basic(USER, "third"), "10.0.0.2")
        go_on.set()
        assert [each.result() for each in waiting] == [False, False]


def test_a_failed_login_is_logged_with_user_and_address_and_no_password(
    serve: Serve, login: Login, slow: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(host="0.0.0.0", login=login)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "hpo"):
        for _ in range(4):  # a browser's open page asks again and again with what it has
            assert client(*ASK, Authorization=basic("eve\n\x1b[31m", "s3cret")).status == 401
        for number in range(9):
            client(*ASK, Authorization=basic(USER, f"s3cret{number}"))
        assert client(*ASK, Authorization=KEY).status == 429
    said = [record.getMessage() for record in caplog.records if record.name == "hpo"]
    assert said[0] == r"failed login as 'eve\n\x1b[31m' from 127.0.0.1"
    assert said[1:] == [
        *[f"failed login as '{USER}' from 127.0.0.1"] * 4,
        "too many failed logins: refused from 127.0.0.1 for now",
    ]
    assert len(slow) == 5


@pytest.fixture
def half_sent() -> Iterator[Callable[[Client, int, bytes], list[socket.socket]]]:
    """`half_sent(client, many, text)`: connections that have sent `text`, and send no more."""
    opened: list[socket.socket] = []

    def send(client: Client, many: int, text: bytes) -> list[socket.socket]:
        for _ in range(many):
            connection = socket.create_connection(("127.0.0.1", client.port), timeout=60)
            connection.sendall(text)
            opened.append(connection)
        return opened

    yield send
    for each in opened:
        each.close()


@pytest.mark.parametrize(
    "text",
    [b"", b"GET /api/studies HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nx"],
    ids=["silent", "header", "body"],
)
def test_half_sent_requests_lock_nobody_out(
    serve: Serve, login: Login, half_sent: Callable[..., list[socket.socket]], text: bytes
) -> None:
    client = serve(host="0.0.0.0", login=login)
    client.seconds = 30.0
    opened = half_sent(client, connections.MOST + 50, text)
    for _ in range(3):
        assert client(*ASK, Authorization=KEY).status == 200
    assert client(*ASK).status == 401
    assert sum(map(is_open, opened)) <= connections.MOST_OF_AN_ADDRESS


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.faults
def test_a_request_that_trickles_in_is_cut_off(
    serve: Serve, login: Login, monkeypatch: pytest.MonkeyPatch, half_sent: Callable[..., list[socket.socket]]
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(connections, "LOOKED_AFTER_SECONDS", 0)
    client = serve(host="0.0.0.0", login=login)
    (connection,) = half_sent(client, 1, b"GET / HTTP/1.1\r\n")
    connection.settimeout(0.05)
    for _ in range(1200):
        try:
            connection.sendall(b"X-A: b\r\n")
            if connection.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("still open")
    assert client(*ASK, Authorization=KEY).status == 200


def test_a_stranger_sends_no_large_body(serve: Serve, login: Login) -> None:
    """Before the login it is refused for its size, although the user may send files."""
    client = serve(host="0.0.0.0", login=login, writable=True)
    large = '"' + "x" * (1 << 20) + '"'
    assert client("POST", "/api/studies", Content_Length=str(1 << 20)).status == 413
    assert client(*ASK, Authorization=KEY).status == 200
    assert client("POST", "/api/studies", large, Authorization=KEY).status not in (401, 413)

"""Requests to a dashboard made by hand: no client library puts things right on the way."""

from __future__ import annotations

import base64
import http.client
from dataclasses import dataclass

from hpo.dashboard import Dashboard

USER, PASSWORD = "ann", "correct horse: battery"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


class Client:
    """Requests to one dashboard, with exactly the headers given. `host` is the Host header."""

    def __init__(self, page: Dashboard) -> None:
        self.port = page.port
        self.host = f"127.0.0.1:{page.port}"
        self.seconds = 120.0  # for an answer

    def __call__(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.seconds)
        connection.putrequest(method, path, skip_host=True)
        sent = {"Host": self.host} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent = {"Content-Type": "application/json"} | sent | {"Content-Length": str(len(body.encode()))}
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode() if body is not None else None)
        answer = connection.getresponse()
        found = Answer(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        )
        connection.close()
        return found


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

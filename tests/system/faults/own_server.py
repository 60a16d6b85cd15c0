"""A PostgreSQL of the test's own, beside the one that all tests share."""

from __future__ import annotations

from pathlib import Path

from hpo.storage.embedded.embedded import embedded_url
from hpo.storage.embedded.server import Server


class OwnServer:
    """A PostgreSQL that a test may stop and start. The hpo processes are told its URL, and so never start it."""

    def __init__(self, home: Path) -> None:
        self.url = embedded_url(home)
        self.server = Server(home / "postgres")

    def stop(self) -> None:
        assert self.server.stop(seconds=20)

    def start(self) -> None:
        self.server.start(alone=True)

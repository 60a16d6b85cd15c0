"""One PostgreSQL with a password for the deployment tests."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.system.deploy.password_server import PasswordServer, password_server


@pytest.fixture(scope="session")
def server() -> Iterator[PasswordServer]:
    with password_server("max_connections=100") as running:
        yield running


@pytest.fixture
def database(server: PasswordServer) -> str:
    """The URL of an empty database, password included."""
    return server.create_database(f"t{uuid4().hex[:12]}")

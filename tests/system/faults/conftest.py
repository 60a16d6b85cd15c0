"""Worlds for the fault tests: on the server that all tests share, behind a proxy, or on a server of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from own_server import OwnServer
from proxy import Proxy
from sqlalchemy.engine import URL, make_url
from world import NewWorld, World, new_world

from hpo.storage.embedded.embedded import leave_embedded

__all__ = ["new_world", "own_server", "proxy", "through_proxy"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def proxy(postgres_server: URL) -> Iterator[Proxy]:
    """A TCP way to the server that all tests share."""
    proxy = Proxy(Path(str(postgres_server.query["host"])) / ".s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.fixture
def through_proxy(new_world: NewWorld, database_url: str, proxy: Proxy) -> NewWorld:
    """Makes a world whose hpo processes reach their database through `proxy`."""

    def make(**fields: Any) -> World:
        name = make_url(database_url).database
        world = new_world(url=f"postgresql+psycopg2://postgres@127.0.0.1:{proxy.port}/{name}", **fields)
        world.direct = database_url
        return world

    return make


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    home = tmp_path / "server"
    server = OwnServer(home)
    yield server
    leave_embedded(home)

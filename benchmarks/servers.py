"""A fresh database for each side of a comparison, and a fresh process."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import psycopg2
from sqlalchemy.engine import URL

__all__ = ["child", "database", "in_child"]

SPAWN = get_context("spawn")


def database(server: URL, name: str, template: str = "template1") -> str:
    """The URL of a database of that name, made anew."""
    connection = psycopg2.connect(host=server.query["host"], user=server.username, dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    connection.close()
    return server.set(database=name).render_as_string(hide_password=False)


def in_child(function: Any, *arguments: Any, at_start: Any = None) -> Any:
    """Call `function(pipe, *arguments)` in a process of its own, so that nothing one side loaded burdens another.

    at_start: called when the function sends a text before its result
    """
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=child, args=(theirs, function, *arguments))
    process.start()
    theirs.close()
    answer = ours.recv()
    if at_start is not None and isinstance(answer, str):
        at_start()
        answer = ours.recv()
    process.join()
    return answer


def child(pipe: Connection, function: Any, *arguments: Any) -> None:
    """What such a process runs."""
    pipe.send(function(pipe, *arguments))

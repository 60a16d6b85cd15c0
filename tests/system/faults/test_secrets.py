"""A database password is used by the coordinator and shows nowhere. See docs/failures.md."""

from __future__ import annotations

from typing import Any

import psutil
from sqlalchemy.engine import make_url
from test_hosts import let_go
from world import World

NewWorld = Any
SECRET = "hunter2-is-a-secret"


def quiet(world: World, *arguments: str, command: str, url: str, code: int = 0) -> None:
    assert SECRET not in world.start(*arguments, command=command, HPO_STORAGE=url).ends(code)


def test_a_password_in_the_url_shows_nowhere(new_world: NewWorld) -> None:
    """Not in a command line, a trainer's environment, what the server lists, output, an error, or any file written."""
    world = new_world(warm=False)  # a process that is forked has the command line and environment of another
    parsed = make_url(world.url).set(password=SECRET)
    url = parsed.render_as_string(hide_password=False)
    world.url = ""
    world.hold.write_text("1")
    process = world.start("--trials", "2", HPO_STORAGE=url)
    world.reached(1)
    trainers = process.trainers()
    assert len(trainers) == 2
    for one in (psutil.Process(process.process.pid), *trainers):
        assert SECRET not in " ".join([one.name(), *one.cmdline()])
    assert not any(SECRET in value for one in trainers for value in one.environ().values())
    assert SECRET not in str(world.sql("SELECT * FROM pg_stat_activity WHERE application_name = 'hpo'"))
    let_go(world)
    assert SECRET not in process.ends()
    for command in ("status", "report"):
        quiet(world, command=command, url=url)
    nowhere = parsed.set(host="127.0.0.1", port=1, query={}).render_as_string(hide_password=False)
    quiet(world, "--trials", "3", command="run", url=nowhere, code=4)
    written = [path for path in world.folder.rglob("*") if path.is_file()]
    assert any(path.name == "index.html" for path in written)
    assert not any(SECRET.encode() in path.read_bytes() for path in written)

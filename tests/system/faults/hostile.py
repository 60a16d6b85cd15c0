"""A database in which somebody else may write anything, and what must hold whatever stands there."""

from __future__ import annotations

import functools
import json
import os
import pickle
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from world import HERE

from hpo import api
from hpo.cli.main import run_command
from hpo.errors import EXIT_CODES, DeviceError

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
FORGED = "x\nforged  all in order\r\tforged\u2028forged"
DECLARED = ("faults", str(HERE / "shared_study.py"))
"""The study's name, and how `hpo run` is given it."""
OBJECTIVE = ("quick_objective", f"{HERE / 'quick_objective.py'}:objective")


def words_of(study: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    """The commands that read a study, each in a word or two."""
    name, file = study
    return {
        "status": ("status", "--study", name),
        "status all": ("status", "--json"),
        "best": ("best", "--study", name),
        "trials": ("trials", "--study", name),
        "trials failed": ("trials", "--study", name, "--state", "failed"),
        "trials json": ("trials", "--study", name, "--json"),
        "reproduce": ("reproduce", "--study", name, "--trial", "1"),
        "evaluate": ("evaluate", "--study", file, "--trainers", "1"),
        "report": ("report", "--study", name, "--out", "report"),
        "doctor": ("doctor", "--device", "cpu"),
        "watch": ("status", "--study", name, "--watch"),
        "watch json": ("status", "--study", name, "--watch", "--json"),
        "check": ("check", "--study", file),
    }


READERS = tuple(words_of(DECLARED))


class Bomb:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.canary,))


class NoTrainer:
    """Stands where a command would begin to train: what it may run has been decided by then."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> NoTrainer:
        return self

    def __exit__(self, *_: object) -> None: ...

    def send(self, *_: Any, **__: Any) -> None:
        raise DeviceError("this test trains nothing")

    def run(self, *_: Any) -> bool:
        raise DeviceError("this test trains nothing")

    def kill(self) -> None: ...


def interrupt(_: float) -> None:
    """Ctrl-C instead of the next look."""
    raise KeyboardInterrupt


@dataclass
class Attack:
    """`folder`/canary appears if anything that the database names is run; `folder`/outside is what nobody may touch."""

    folder: Path

    def __post_init__(self) -> None:
        self.outside = self.folder / "outside"
        for number in range(40):  # a run removes the checkpoints of a trial that ended, by its number
            (self.outside / str(number)).mkdir(parents=True)
            (self.outside / str(number) / "kept").write_text("kept")
        self._untouched = self._there()
        self.canary = self.folder / "canary"
        self.code = self.folder / "code"
        self.code.mkdir()
        (self.code / "planted.py").write_text(
            f"import os; os.mkdir({str(self.canary)!r})\nbuild = load = study = None\n"
        )

    @property
    def texts(self) -> list[str | None]:
        """What stands in a column one after the other, None for nothing; the long one last."""
        job = {"model": {"builder": "planted:build", "reads": []}, "dataset": {"loader": "planted:load"}, "plan": {},
               "config": {}, "sys_path": [str(self.code)], "trial_id": 0, "number": 0, "seed": 0}  # fmt: skip
        climbing = "/../" * 12 + str(self.folder / "outside")
        return [
            json.dumps({"job": job, "uid": climbing}),
            pickle.dumps(Bomb(str(self.canary))).hex(),
            json.dumps(pickle.dumps(Bomb(str(self.canary)), 0).decode("latin-1")),
            None,
            str(self.code / "planted.py"),
            "planted:build",
            climbing,
            json.dumps(climbing),
            "\x1b]0;pwned\x07\x1b[2J\u202e[bold]{{7*7}}</script><script>pwned()</script>",
            json.dumps("\x1b]0;pwned\x07\x1b[2J\u202e\ud800[/bold]"),
            FORGED,
            json.dumps([FORGED, {FORGED: FORGED}]),
            json.dumps({"\x1b[31mkey": ["\x1b[2J", {"\x07": None}]}),
            "[" * 20_000,
            "[" * 300 + "]" * 300,
            "", "nul", "null", "NaN", "-Infinity", "1e999", "9" * 400, "-1", "true", "[]", "{}", '""', "[null]",
            '{"name": "CategoricalDistribution", "attributes": {"choices": [[1], {"a": 2}]}}',
            '{"name": "FloatDistribution", "attributes": {"low": NaN, "high": -1, "step": 0, "log": true}}',
            '{"name": "os.system", "attributes": {"command": "id"}}',
            json.dumps("x" * 10_000_000),
        ]  # fmt: skip

    def unharmed(self) -> None:
        assert not self.canary.exists(), "something that stood in the database was run"
        assert self._there() == self._untouched
        assert sorted(path.name for path in self.folder.iterdir()) == ["code", "outside", "work"]

    def _there(self) -> list[str]:
        return sorted(str(path) for path in self.outside.rglob("*"))


TEXTS = ("text", "character varying", "json", "jsonb")
RECORD = ("hpo_studies", "studies")
"""The tables whose row every command begins with."""
WHOLE = ["-1", "0", str(2**31 - 1), str(2**30 - 9), str(-(2**31)), None]
MOMENTS = ["infinity", "-infinity", "4713-01-01 BC", "294275-12-31", "9999-12-31 23:59:59.999999", "0001-01-01", None]
ODD: dict[str, list[str | None]] = {
    "double precision": ["NaN", "Infinity", "-Infinity", "1e308", "-1e308", "5e-324", "-0.5", None],
    "integer": WHOLE,
    "timestamp without time zone": MOMENTS,
    "timestamp with time zone": MOMENTS,
}
"""By type, what stands where a number or a moment is expected; None: nothing stands there."""


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    longest: int | None
    kind: str

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"

    def fitting(self, value: str | None) -> str | None:
        return None if value is None else value.replace("\0", "")[: self.longest]


def columns_with(connection: Connection, kinds: Iterable[str]) -> list[Column]:
    """Every column of every table whose type is one of `kinds`."""
    rows = connection.execute(
        text(
            "SELECT table_name, column_name, character_maximum_length, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = ANY(:kinds) ORDER BY table_name, column_name"
        ),
        {"kinds": list(kinds)},
    )
    return [Column(*row) for row in rows]


def text_columns(connection: Connection) -> list[Column]:
    """Every column that holds text, PostgreSQL's enumerations aside, which hold nothing else."""
    return columns_with(connection, TEXTS)


def write(connection: Connection, column: Column, values: Sequence[str | None]) -> list[tuple[str, str | None]]:
    """A value of `values` into every row, one after the other. A row that a unique key refuses keeps what it had.

    Returns (place of the row, what stood there) of every row that was changed.
    """
    query = text(f'SELECT ctid::text, "{column.name}"::text FROM {column.table} ORDER BY ctid')
    changed: list[tuple[str, str | None]] = []
    for index, (row, before) in enumerate(connection.execute(query).all()):
        connection.execute(text("SAVEPOINT one"))
        try:
            place = _put(connection, column, row, column.fitting(values[index % len(values)]))
        except DBAPIError:  # unique, a key, required, or no text that the column takes
            connection.execute(text("ROLLBACK TO SAVEPOINT one"))
        else:
            changed.append((place, before))
    return changed


def _put(connection: Connection, column: Column, row: str, value: str | None) -> str:
    value_of = f"CAST(CAST(:value AS text) AS {column.kind})"
    statement = (
        f'UPDATE {column.table} SET "{column.name}" = {value_of} WHERE ctid = CAST(:row AS tid) RETURNING ctid::text'
    )
    return str(connection.execute(text(statement), {"value": value, "row": row}).scalar_one())


@contextmanager
def holding(url: str, column: Column, values: Sequence[str | None]) -> Iterator[None]:
    """The database with `values` in `column` for a while, for commands that write nothing."""
    with altered(url) as connection:
        changed = write(connection, column, values)
    yield
    with altered(url) as connection:
        for row, before in reversed(changed):
            _put(connection, column, row, before)


@contextmanager
def database_of(seeded: str, name: str) -> Iterator[str]:
    """A copy of the database `seeded`, to be destroyed."""
    parsed = make_url(seeded)
    server = create_engine(parsed.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {parsed.database}"))
    try:
        yield parsed.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def altered(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class Commands:
    """`commands("status", url)`: what it printed, once everything has been looked at that must hold."""

    def __init__(
        self,
        attack: Attack,
        patch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        study: tuple[str, str] = DECLARED,
    ) -> None:
        self._attack, self._capsys, self._patch, self._study = attack, capsys, patch, study
        work = attack.folder / "work"
        work.mkdir()
        patch.chdir(work)
        patch.setenv("HPO_HOME", str(work / "home"))
        patch.setenv("HPO_CHECKPOINT_DIR", str(work / "home" / "checkpoints"))
        patch.setenv("HPO_LEASE_SECONDS", "2")
        patch.setenv("HPO_PATIENCE_SECONDS", "3")
        patch.setenv("FAKE", json.dumps({"log": str(work / "log"), "hold": str(work / "hold"), "epoch_seconds": 0.005}))
        if study == DECLARED:
            fake = (sys.executable, str(HERE / "fake_trainer.py"))
            patch.setattr(api, "run", functools.partial(api.run, trainer=fake))
        # By their modules: a function of the same name hides one of them in its package.
        patch.setattr(import_module("hpo.reproduction.reproduce"), "TrainerProcess", NoTrainer)
        patch.setattr(import_module("hpo.evaluation.evaluate"), "RunScheduler", NoTrainer)
        patch.setattr(import_module("hpo.doctor.checkup"), "examine_devices", lambda _: ())
        patch.setattr(import_module("hpo.trainers.estimate"), "rehearse", NoTrainer().send)
        patch.setattr(import_module("hpo.cli.following"), "time", SimpleNamespace(sleep=interrupt))

    def __call__(self, command: str, url: str, what: str) -> str:
        words = words_of(self._study).get(command, tuple(command.split()))
        self._patch.setenv("HPO_STORAGE", url)  # hpo check takes it from nowhere else
        code = run_command([*words, *(() if command == "check" else ("--storage", url))])
        captured = self._capsys.readouterr()
        said = captured.out + captured.err
        where = f"{what}: hpo {command}\n{said[-3000:]}"
        assert code in EXIT_CODES, where
        assert code != 70, where
        assert "Traceback" not in captured.err, where
        assert "bug" not in captured.err, where
        found = CONTROL.search(said)
        assert found is None, f"{found} in {where!r}"
        assert not re.search(r"^\s*forged", said, re.MULTILINE), f"a line that somebody else wrote: {where}"
        assert len(said) < 2_000_000, where[:300]
        self._attack.unharmed()
        return said

    def run(self, url: str, trials: int, what: str, timeout: str = "20s", *, ends: bool = False) -> str:
        """`hpo run` for `trials` trials more; of a declared study, with trainers that only seem to train.

        ends: whether it has to end before its time is up, by itself; if not, the trials say what it waited for
        """
        with altered(url) as connection:
            there = connection.execute(text("SELECT count(*) FROM trials")).scalar_one()
        way = " --direction minimize" if self._study == OBJECTIVE else ""
        words = f"run --study {self._study[1]} --trainers 2 --timeout {timeout} --trials {there + trials}{way}"
        said = self(words, url, what)
        assert not ends or "time is up" not in said, f"{what}: it waited\n{unfinished(url)}\n{said[-3000:]}"
        return said


def unfinished(url: str) -> str:
    """Every trial that has not ended, with its lease, a line each."""
    both = "trials t LEFT JOIN hpo_leases l USING (trial_id)"
    query = f"SELECT concat_ws(' ', t::text, l::text) FROM {both} WHERE state IN ('RUNNING', 'WAITING')"
    with altered(url) as connection:
        return "\n".join(connection.execute(text(query)).scalars())


def columns_of(url: str) -> list[Column]:
    with altered(url) as connection:
        return text_columns(connection)


def rotated(values: list[str | None], by: int) -> list[str | None]:
    return values[by % len(values) :] + values[: by % len(values)]

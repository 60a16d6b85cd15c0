"""One small search, shared by the tests that only look at its trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import hpo
from hpo.reproduction import Reproduction, reproduce
from hpo.settings import Settings
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.engine import open_engine
from hpo.study.discovery import find_study

THREE_ENDS = str(Path(__file__).parent / "three_ends.py")


def everything(engine: Engine) -> dict[str, str]:
    """A digest of every table."""
    with engine.connect() as connection:
        names = connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        ).scalars()
        query = "SELECT md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM {} t"
        return {name: connection.execute(text(query.format(name))).scalar_one() for name in list(names)}


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """three_ends: trials 0 and 1 complete, 2 pruned, 3 diverged; hurried: trial 0, ended by the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_HOME", str(tmp_path_factory.mktemp("searched")))
        settings = Settings.read()
        hpo.run(THREE_ENDS, trials=4, trainers=1, enqueue_known=True)
        found = find_study(THREE_ENDS)
        hurried = replace(found.study, name="hurried", epochs=100_000, max_seconds=0.2)
        hpo.run(replace(found, study=hurried), trials=1, trainers=1)
    yield settings
    leave_embedded(settings.home)


@pytest.fixture
def engine(searched: Settings) -> Iterator[Engine]:
    engine = open_engine(embedded_url(searched.home))
    yield engine
    engine.dispose()


@pytest.fixture
def again(searched: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reproduction]:
    """`again(0)` reproduces trial 0 of three_ends."""
    monkeypatch.setenv("HPO_HOME", str(searched.home))

    def run(number: int, reference: str = THREE_ENDS, **how: Any) -> Reproduction:
        return reproduce(reference, number, **{"storage": None, "device": None, "settings": searched, **how})

    return run


@pytest.fixture
def changed(engine: Engine) -> Callable[..., Any]:
    """`with changed("UPDATE ..", undo="UPDATE ..")`: a database that says something else for a while.

    Every test looks at this database, so an undo that leaves one bit different fails its own test.
    """

    @contextmanager
    def change(statement: str, undo: str, **values: Any) -> Iterator[None]:
        before = everything(engine)
        del before["hpo_changes"]  # that trials were changed, by this test too
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        try:
            yield
        finally:
            with engine.begin() as connection:
                connection.execute(text(undo), values)
        assert everything(engine).items() >= before.items()

    return change

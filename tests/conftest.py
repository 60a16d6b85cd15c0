"""A real PostgreSQL for every test that asks for one: the server that comes with hpo, a fresh database per test."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: tests run side by side, one on a core

import gc
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zlib import crc32

import hypothesis
import psycopg2
import pytest
from run_folder import end_killed_runs, own_folder
from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url

from hpo.settings import Settings
from hpo.storage.embedded.embedded import embedded_url, leave_embedded
from hpo.storage.engine import open_engine
from hpo.storage.schema import ensure_schema
from hpo.trainers import forked

_KEPT = {"HPO_DATA_DIR"}
_FOLDER = pytest.StashKey[Path]()

# A pause of the machine is no failure of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Both are printed at the top of a run, so that it can be run again as it was."""
    group = parser.getgroup("reproducible runs")
    group.addoption("--seed", type=int, default=0, help="of every test's random numbers, together with its name")
    group.addoption("--shuffle", action="store_true", help="run the tests in an order that the seed decides")


@pytest.hookimpl(tryfirst=True)  # before hypothesis and pytest's own temporary folder read their options
def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's `&` has it; what the tests start inherits it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = config.getoption("--seed")
    if not hasattr(config, "workerinput"):  # xdist's processes are below their parent's folder
        end_killed_runs()
        folder = config.stash[_FOLDER] = own_folder()
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None  # asks for TMPDIR again
        config.option.basetemp = config.option.basetemp or str(folder / "t")  # short: PostgreSQL's sockets lie below it


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tests that failed leave their folders for a look, until the next run."""
    folder = session.config.stash.get(_FOLDER, None)
    if folder and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_report_header(config: pytest.Config) -> str:
    order = " --shuffle" if config.getoption("--shuffle") else ""
    return f"random numbers: --seed {config.getoption('--seed')}{order}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What this machine could not try, in a line."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        each = [f"{reason} ({count})" for reason, count in sorted(reasons.items())]
        terminalreporter.write_line(f"not covered here: {'; '.join(each)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--shuffle"):
        items.sort(key=lambda item: _seed(config, item.nodeid))


def pytest_collectstart(collector: pytest.Collector) -> None:
    """A module that draws while it is imported draws the same, whatever was imported before."""
    _seed_everything(_seed(collector.config, collector.nodeid))


def pytest_collection_finish() -> None:
    """What is imported by now stays: a collection of garbage that walks through it takes 0.1 s."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Libraries complain at the end of a process about what is left of theirs."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Every test draws numbers of its own, the same in every run: alone, in any order, in any process."""
    _seed_everything(_seed(request.config, request.node.nodeid))


def _seed(config: pytest.Config, name: str) -> int:
    """Of 32 bits, as numpy wants it; not `hash`, which is another in every process."""
    return crc32(f"{config.getoption('--seed')} {name}".encode())


def _seed_everything(seed: int) -> None:
    """What is imported, that is: the tests of light imports stay light."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


@pytest.fixture(autouse=True, scope="session")
def hangups_reach_children() -> Iterator[None]:
    """Processes inherit that SIGHUP is ignored, as under nohup, but no handler. The tests outlive their terminal."""
    before = signal.signal(signal.SIGHUP, lambda number, frame: None)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True, scope="session")
def kernels_are_compiled_once() -> Iterator[None]:
    """In one folder for all processes of a run, which have its temporary folder in common, not in the user's cache."""
    folder = Path(tempfile.gettempdir()) / "machine"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(autouse=True, scope="session")
def fork_server_stays() -> Iterator[None]:
    """The next search in this process may be minutes away, and is not to import torch for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forked, "IDLE_SECONDS", 3600.0)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them, except where the data sets are."""
    for name in os.environ:
        if (name.startswith("HPO_") and name not in _KEPT) or name in {"PGHOST", "PGPORT", "PGPASSWORD", "PGUSER"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HPO_NATIVE", "unmeasured")  # the same ways on every machine, and nobody waits for them


@pytest.fixture(autouse=True)
def own_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's folder that one test has put there hides no module of the next."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(autouse=True)
def ordinary_arithmetic() -> Iterator[None]:
    """As in a trainer, one thread (or OMP_NUM_THREADS), whatever the test before it set; denormal numbers as usual.

    A device that a test opens flushes them to zero in the whole thread; hypothesis, for one, wants them back.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with everything under this test's own folder, and a lease short enough to wait for."""
    home = tmp_path / "home"
    return Settings(home=home, checkpoint_dir=home / "checkpoints", lease_seconds=5.0, patience_seconds=10.0)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """One server per test process (xdist has several), with a database "ready" that has the tables."""
    home = Path(tempfile.mkdtemp(prefix="server-"))  # a short path: its socket lies there
    url = make_url(embedded_url(home))
    _execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", "CREATE DATABASE ready")
    engine = open_engine(_at(url, "ready"))
    ensure_schema(engine)
    engine.dispose()
    yield url
    leave_embedded(home)


@pytest.fixture
def empty_database_url(postgres_server: URL) -> Iterator[str]:
    """A fresh database without tables."""
    yield from _database(postgres_server, "template1")


@pytest.fixture
def database_url(postgres_server: URL) -> Iterator[str]:
    """A fresh database with Optuna's tables and ours."""
    yield from _database(postgres_server, "ready")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def _database(server: URL, template: str) -> Iterator[str]:
    name = f"t{uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _at(server, name)
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _at(server: URL, database: str) -> str:
    return server.set(database=database).render_as_string(hide_password=False)


def _execute(server: URL, *statements: str) -> None:
    connection = psycopg2.connect(host=server.query["host"], user=server.username, dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()
